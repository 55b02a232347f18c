// Edits of headers by policy, and what no policy can reach.

import { expect } from 'chai'
import { headerPlan, isEditable } from '../../../agent/edit/headers.ts'

describe('edit headers', () => {
  it('does nothing without edits', () => {
    expect(headerPlan(undefined)).to.deep.equal({ cuts: [], lines: '' })
    expect(headerPlan({})).to.deep.equal({ cuts: [], lines: '' })
  })

  it('sets by cutting and adding, adds by adding, removes by cutting', () => {
    const edits = {
      set: [{ name: 'X-Team', value: 'shop' }],
      add: [{ name: 'Cache-Control', value: 'no-store ' }],
      remove: ['Server', 'x-team'],
    }
    const plan = headerPlan(edits)
    expect(plan).to.deep.equal({ cuts: ['x-team', 'server'], lines: 'X-Team: shop\r\nCache-Control: no-store\r\n' })
    expect(headerPlan(edits)).to.equal(plan)
  })

  it('lets the last of two settings count, and adds each addition', () => {
    const plan = headerPlan({
      set: [
        { name: 'a', value: '1' },
        { name: 'A', value: '2' },
      ],
      add: [
        { name: 'b', value: '1' },
        { name: 'b', value: '2' },
      ],
    })
    expect(plan).to.deep.equal({ cuts: ['a'], lines: 'A: 2\r\nb: 1\r\nb: 2\r\n' })
  })

  it('keeps identity, framing, hop-by-hop and its own headers out of reach, in any spelling', () => {
    const names = [
      'x-forwarded-client-cert',
      'X_Forwarded-Client_Cert',
      'Connection',
      'content-length',
      'Content_Length',
      'transfer-encoding',
      'host',
      'te',
      'upgrade',
      'x-weft-error',
      'X-Forwarded-For',
      'via',
    ]
    const pairs = names.map((name) => ({ name, value: 'spoofed' }))
    for (const name of names) expect(isEditable(name), name).to.equal(false)
    expect(headerPlan({ set: pairs, add: pairs, remove: names })).to.deep.equal({ cuts: [], lines: '' })
  })

  it('lets nothing begin a line of its own', () => {
    for (const value of ['a\r\nx-evil: 1', 'a\nb', 'a\0b', '\u0100', 'a'.repeat(4_097)]) {
      expect(headerPlan({ set: [{ name: 'a', value }] }).lines, JSON.stringify(value)).to.equal('')
    }
    for (const name of ['', 'a b', 'a:', 'a\r\n', 'ä', 'a'.repeat(257)]) {
      expect(headerPlan({ add: [{ name, value: 'x' }], remove: [name] }), JSON.stringify(name)).to.deep.equal({
        cuts: [],
        lines: '',
      })
    }
  })
})
