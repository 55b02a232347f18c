// Views share what did not change, and never change themselves.

import { expect } from 'chai'
import { keysChanged, Shelf } from '../../../controller/observe/view.ts'
import { shared, shareFields } from '../../../controller/observe/words.ts'
import { Dice } from '../../../scripts/fuzz/dice.ts'

describe('views', () => {
  it('are what the shelf was, and the same one until it changes', () => {
    const shelf = new Shelf<number>()
    shelf.set('a', 1)
    const first = shelf.view()
    expect(shelf.view()).to.equal(first)
    shelf.set('a', 2)
    shelf.set('b', 3)
    const second = shelf.view()
    expect([...first]).to.deep.equal([['a', 1]])
    expect(new Map(second)).to.deep.equal(
      new Map([
        ['a', 2],
        ['b', 3],
      ]),
    )
    expect(shelf.delete('c')).to.equal(false)
    expect(shelf.view()).to.equal(second)
  })

  it('tell what is different between any two of them', () => {
    const dice = new Dice(1)
    const shelf = new Shelf<number>()
    const views = [shelf.view()]
    for (let step = 0; step < 300; step++) {
      const key = `ns-${dice.below(4)}/pod-${dice.below(100)}`
      if (dice.chance(0.3)) shelf.delete(key)
      else shelf.set(key, dice.below(5))
      const next = shelf.view()
      const before = dice.pick(views)
      const all = new Set([...before.keys(), ...next.keys()])
      const wanted = [...all].filter((each) => before.get(each) !== next.get(each))
      expect(keysChanged(before, next)).to.have.members(wanted)
      expect(keysChanged(new Map(before), next)).to.have.members(wanted)
      expect(next.size).to.equal([...next].length)
      views.push(next)
    }
  })

  it('of words give one copy of each', () => {
    const object = shareFields({ name: ['no', 'de'].join(''), isReady: true })
    expect(object).to.deep.equal({ name: 'node', isReady: true })
    expect(shared(undefined)).to.equal(undefined)
  })
})
