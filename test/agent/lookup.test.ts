// Which addresses of a name outside may be connected to.

import type dns from 'node:dns'
import { expect } from 'chai'
import { isOutside, lookupOutside } from '../../agent/lookup.ts'

describe('agent/lookup', () => {
  for (const address of ['203.0.113.5', '10.1.2.3', '2001:db8::5', 'fd00::3']) {
    it(`takes ${address} for outside`, () => expect(isOutside(address)).to.equal(true))
  }
  for (const address of [
    '127.0.0.1',
    '0.0.0.0',
    '169.254.169.254',
    '224.0.0.1',
    '255.255.255.255',
    '::',
    '::1',
    '::ffff:127.0.0.1',
    '::ffff:169.254.169.254',
    '64:ff9b::a9fe:a9fe',
    '2002:7f00:1::',
    'fe80::1',
    'fe80::1%eth0',
    'ff02::1',
  ]) {
    it(`takes ${address} for inside`, () => expect(isOutside(address)).to.equal(false))
  }

  function find(addresses: string[], all: boolean): unknown[] {
    let answer: unknown[] = []
    const found = addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 }))
    const lookup = ((_name: string, _options: object, done: (error: null, found: dns.LookupAddress[]) => void) =>
      done(null, found)) as unknown as typeof dns.lookup
    lookupOutside(['10.1.0.3'], lookup)('api.example.com', { all }, (...given) => {
      answer = given
    })
    return answer
  }

  it('leaves out what is inside, and the agent itself', () => {
    const mixed = ['127.0.0.1', '10.1.0.3', '203.0.113.5', '::1', '2001:db8::5']
    expect(find(mixed, true)).to.deep.equal([
      null,
      [
        { address: '203.0.113.5', family: 4 },
        { address: '2001:db8::5', family: 6 },
      ],
    ])
    expect(find(mixed, false)).to.deep.equal([null, '203.0.113.5', 4])
  })

  it('says so when nothing is left', () => {
    const [error] = find(['169.254.169.254', '10.1.0.3'], true) as [Error]
    expect(error.message).to.equal('api.example.com leads to this machine or its link, which is not outside')
  })
})
