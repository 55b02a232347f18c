// Consistent hashing: even shares, and as few keys moved as can be.

import { expect } from 'chai'
import { findOwner, hash32, hashKey, makeRing } from '../../../agent/balance/ring.ts'
import { input } from '../../support/snapshot.ts'

const names = (count: number) => Array.from({ length: count }, (_, i) => `10.0.${i >> 8}.${i & 255}:8080`)
const keys = Array.from({ length: 5_000 }, (_, i) => `key${i}`)
const all = () => true

describe('balance ring', () => {
  it('shares keys evenly', () => {
    const ring = makeRing(names(10))
    const counts = new Array<number>(10).fill(0)
    for (const key of keys) counts[findOwner(ring, key, all)]!++
    for (const count of counts) expect(count).to.be.within(300, 750)
  })

  it('moves only the keys of an endpoint that goes', () => {
    const before = names(10)
    const after = before.filter((_, i) => i !== 4)
    const one = makeRing(before)
    const two = makeRing(after)
    for (const key of keys) {
      const was = before[findOwner(one, key, all)]
      const is = after[findOwner(two, key, all)]
      if (was !== before[4]) expect(is).to.equal(was)
    }
  })

  it('moves them to where a ring without it would, when it is only out', () => {
    const before = names(10)
    const after = before.filter((_, i) => i !== 4)
    const one = makeRing(before)
    const two = makeRing(after)
    for (const key of keys) {
      expect(before[findOwner(one, key, (owner) => owner !== 4)]).to.equal(after[findOwner(two, key, all)])
    }
  })

  it('does not depend on the order of names', () => {
    const order = names(10)
    const reverse = [...order].reverse()
    for (const key of keys.slice(0, 500)) {
      expect(order[findOwner(makeRing(order), key, all)]).to.equal(reverse[findOwner(makeRing(reverse), key, all)])
    }
  }).timeout(30_000)

  it('finds nothing in an empty ring, and nothing where all are out', () => {
    expect(findOwner(makeRing([]), 'a', all)).to.equal(-1)
    expect(findOwner(makeRing(names(3)), 'a', () => false)).to.equal(-1)
  })

  it('stays bounded with ten thousand endpoints and with long keys', () => {
    const ring = makeRing(names(10_000))
    expect(ring.hashes.length).to.be.within(10_000, 16_384)
    expect(hash32('a'.repeat(1_024))).to.equal(hash32('a'.repeat(1_000_000)))
  })

  it('takes the key from a header or a cookie', () => {
    const request = input('GET', '/', { 'x-user': 'ann', cookie: 'b=2; sid=x=y;c=3' })
    expect(hashKey(request, 'X-User', undefined)).to.equal('ann')
    expect(hashKey(request, undefined, 'sid')).to.equal('x=y')
    expect(hashKey(request, undefined, 'c')).to.equal('3')
    expect(hashKey(request, undefined, 'd')).to.equal(null)
    expect(hashKey(request, undefined, undefined)).to.equal(null)
    expect(hashKey(input('GET', '/'), undefined, 'sid')).to.equal(null)
    expect(hashKey(input('GET', '/', { cookie: 'a=1, sid=2' }), undefined, 'sid')).to.equal('2')
  })
})
