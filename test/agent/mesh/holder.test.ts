// Large changes are prepared in slices; whatever is said meanwhile, what takes force is what was asked for.

import { expect } from 'chai'
import { Holder } from '../../../agent/mesh/holder.ts'
import type { FromThread } from '../../../agent/mesh/thread.ts'
import { change, mesh, service } from '../../support/resources.ts'
import { until } from '../../support/until.ts'

describe('agent/mesh/holder', () => {
  let at: number
  let posted: FromThread[]
  let holder: Holder
  const many = change(mesh, ...Array.from({ length: 20 }, (_, index) => service(`shop/s${index}`)))

  beforeEach(() => {
    at = 0
    posted = []
    // Each look at the clock takes a millisecond.
    holder = new Holder({ node: 'node1', now: () => at++, compile: () => [] }, (message) => posted.push(message))
  })

  const prepare = (version: string, lines = many) => holder.handle({ type: 'prepare', version, change: lines })

  it('answers a small change at once', () => {
    expect(prepare('1', change(mesh))).to.deep.equal({ type: 'prepared', version: '1' })
  })

  it('lets others have their turn while it prepares a large one', async () => {
    expect(prepare('1')).to.equal(null)
    expect(posted).to.deep.equal([])
    expect(holder.snapshot.version).to.equal('')
    await until(() => posted.length === 1, 'the answer')
    expect(posted).to.deep.equal([{ type: 'prepared', version: '1' }])
    expect(holder.handle({ type: 'commit', version: '1' })).to.deep.equal({ type: 'committed', version: '1' })
    expect(holder.snapshot.services.size).to.equal(20)
  })

  it('drops what it prepares when it is told to, or to prepare something else', async () => {
    prepare('1')
    holder.handle({ type: 'abort', version: '1' })
    prepare('2')
    prepare('3')
    await until(() => posted.length === 1, 'the answer')
    expect(posted).to.deep.equal([{ type: 'prepared', version: '3' }])
    expect(() => holder.handle({ type: 'commit', version: '2' })).to.throw('not prepared')
  })

  it('finishes what is committed on the word of an earlier try', () => {
    prepare('1')
    holder.handle({ type: 'abort', version: '1' })
    prepare('1')
    expect(holder.handle({ type: 'commit', version: '1' })).to.deep.equal({ type: 'committed', version: '1' })
    expect(holder.snapshot.services.size).to.equal(20)
  })

  it('refuses a large change whose end can not be read', async () => {
    const broken = Buffer.concat([Buffer.from(many), Buffer.from('\n{')])
    expect(prepare('1', broken)).to.equal(null)
    await until(() => posted.length === 1, 'the answer')
    expect(posted[0]).to.include({ type: 'refused', version: '1' })
  })
})
