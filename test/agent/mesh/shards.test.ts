// Maps that never change, and what leads from one to the next.

import { expect } from 'chai'
import { Draft, noShards, type Shards } from '../../../agent/mesh/shards.ts'
import { Dice } from '../../../scripts/fuzz/dice.ts'

describe('agent/mesh/shards', () => {
  it('do what maps do, and tell what is different', () => {
    const dice = new Dice(1)
    const held = new Map<string, number>()
    let shards: Shards<number> = noShards()
    for (let step = 0; step < 300; step++) {
      const draft = new Draft(shards)
      const before = new Map(held)
      for (let count = 1 + dice.below(3); count > 0; count--) {
        const key = `shop/service-${dice.below(100)}:80`
        if (dice.chance(0.3)) {
          draft.delete(key)
          held.delete(key)
        } else {
          const value = dice.below(5)
          draft.set(key, value)
          held.set(key, value)
        }
        expect(draft.has(key)).to.equal(held.has(key))
        expect(draft.get(key)).to.equal(held.get(key))
      }
      const next = draft.done()
      expect(new Map(shards)).to.deep.equal(before)
      expect(new Map(next)).to.deep.equal(held)
      expect(next.size).to.equal(held.size)
      const all = new Set([...before.keys(), ...held.keys()])
      expect(next.changedFrom(shards)).to.have.members([...all].filter((key) => before.get(key) !== held.get(key)))
      shards = next
    }
  })

  it('stay the same map where nothing was changed', () => {
    const draft = new Draft(noShards<number>())
    draft.set('a', 1)
    const one = draft.done()
    const idle = new Draft(one)
    idle.delete('b')
    expect(idle.done()).to.equal(one)
  })
})
