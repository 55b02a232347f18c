// From a split to a backend, request by request.

import { expect } from 'chai'
import { MeshError } from '../../../agent/errors.ts'
import type { Match } from '../../../agent/mesh/match.ts'
import type { Split } from '../../../agent/mesh/snapshot.ts'
import { divide } from '../../../agent/outbound/divide.ts'
import { backend, input, seededRandom, service } from '../../support/snapshot.ts'

const backends = Object.fromEntries(['v1', 'v2', 'v3'].map((name) => [name, backend([], {}, `shop/${name}:9080`)]))
const own = backend([])

function split(weights: Record<string, number>, matches: Match[] | null = null): Split {
  const choices = Object.entries(weights).map(([name, weight]) => ({
    backend: name === 'own' ? own : backends[name]!,
    weight,
  }))
  return { name: 'shop/split', matches, total: choices.reduce((sum, { weight }) => sum + weight, 0), choices }
}

function port(...splits: Split[]) {
  return service({ key: 'shop/reviews', ports: [{ number: 9080, splits, own }] }).ports.get(9080)!
}

const get = input('GET', '/')
const firefox: Match = { name: 'firefox', test: (request) => request.header('user-agent') === 'Firefox' }

/** Key of the backend, or the reason. */
function chosen(splits: Split[], request: typeof get | null, random: number): string {
  const found = divide(port(...splits), request, random)
  return found instanceof MeshError ? found.reason : found.key
}

describe('outbound divide', () => {
  it("serves from the Service's own endpoints without a split", () => {
    expect(chosen([], get, 0.5)).to.equal(own.key)
  })

  it('divides by weight', () => {
    const splits = [split({ v1: 70, v2: 30 })]
    expect(chosen(splits, get, 0)).to.equal('shop/v1:9080')
    expect(chosen(splits, get, 0.6999)).to.equal('shop/v1:9080')
    expect(chosen(splits, get, 0.7)).to.equal('shop/v2:9080')
    expect(chosen(splits, get, 1 - 2 ** -53)).to.equal('shop/v2:9080')
  })

  const shares: [Record<string, number>, Record<string, number>][] = [
    [
      { v1: 1000, v2: 500 },
      { 'shop/v1:9080': 2 / 3, 'shop/v2:9080': 1 / 3 },
    ],
    [{ v1: 7 }, { 'shop/v1:9080': 1 }],
    [
      { v1: 10, v2: 100, v3: 1500 },
      { 'shop/v1:9080': 10 / 1610, 'shop/v2:9080': 100 / 1610, 'shop/v3:9080': 1500 / 1610 },
    ],
    [{ v1: 0, v2: 1 }, { 'shop/v2:9080': 1 }],
    [
      { own: 90, v2: 10 },
      { [own.key]: 0.9, 'shop/v2:9080': 0.1 },
    ],
  ]
  for (const [weights, expected] of shares) {
    it(`gives ${JSON.stringify(weights)} their shares of 20,000 requests`, () => {
      const random = seededRandom(7)
      const counts = new Map<string, number>()
      for (let i = 0; i < 20_000; i++) {
        const key = chosen([split(weights)], get, random())
        counts.set(key, (counts.get(key) ?? 0) + 1)
      }
      expect([...counts.keys()]).to.have.members(Object.keys(expected))
      for (const [key, share] of Object.entries(expected)) expect(counts.get(key)! / 20_000).to.be.closeTo(share, 0.01)
    })
  }

  it('never chooses weight 0, at neither end', () => {
    for (const random of [0, 0.5, 1 - 2 ** -53]) {
      expect(chosen([split({ v1: 0, v2: 5, v3: 0 })], get, random)).to.equal('shop/v2:9080')
    }
  })

  it('chooses the last weighted backend where rounding reaches the total', () => {
    expect(chosen([split({ v1: 5, v2: 5, v3: 0 })], get, 1)).to.equal('shop/v2:9080')
  })

  it('has no backend where the split that decides has none', () => {
    expect(chosen([split({})], get, 0)).to.equal('no_backend')
    expect(chosen([split({ v1: 0, v2: 0 })], get, 0)).to.equal('no_backend')
  })

  it('tries splits in their order: the first without matches, or whose matches fit', () => {
    const splits = [split({ v2: 1 }, [firefox]), split({ v1: 1 }), split({ v3: 1 })]
    expect(chosen(splits, input('GET', '/', { 'user-agent': 'Firefox' }), 0)).to.equal('shop/v2:9080')
    expect(chosen(splits, get, 0)).to.equal('shop/v1:9080')
  })

  it('takes any one of several matches', () => {
    const never: Match = { name: 'never', test: () => false }
    expect(chosen([split({ v2: 1 }, [never, firefox])], input('GET', '/', { 'user-agent': 'Firefox' }), 0)).to.equal(
      'shop/v2:9080',
    )
  })

  it('goes on to the own endpoints where no matches fit, and never fits an empty list', () => {
    expect(chosen([split({ v2: 1 }, [firefox])], get, 0)).to.equal(own.key)
    expect(chosen([split({ v2: 1 }, [])], get, 0)).to.equal(own.key)
  })

  it('applies no split with matches to an opaque connection', () => {
    const all: Match = { name: 'all', test: () => true }
    expect(chosen([split({ v2: 1 }, [all]), split({ v1: 1 })], null, 0)).to.equal('shop/v1:9080')
    expect(chosen([split({ v2: 1 }, [all])], null, 0)).to.equal(own.key)
  })
})
