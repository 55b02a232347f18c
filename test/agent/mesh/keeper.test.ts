// All data threads take a snapshot, or none does.

import { expect } from 'chai'
import { Holder } from '../../../agent/mesh/holder.ts'
import { Keeper, type Member } from '../../../agent/mesh/keeper.ts'
import { Reader, type Wanted } from '../../../agent/mesh/store.ts'
import type { FromThread, ToThread } from '../../../agent/mesh/thread.ts'
import type { Resource } from '../../../controller/contract/resources.ts'
import { FakeClock } from '../../support/clock.ts'
import { endpoints, mesh, service } from '../../support/resources.ts'

function wanted(version: string, ...resources: Resource[]): Wanted {
  const reader = new Reader(version, null)
  for (const resource of resources) reader.take({ type: 'set', resource }, JSON.stringify({ type: 'set', resource }))
  return reader.finish({ type: 'commit', version, count: resources.length })
}

/** A thread with a real holder; it answers in a later turn, unless it is deaf. */
class Thread implements Member {
  readonly name = 'data thread 0'
  readonly seen: string[] = []
  readonly holder = new Holder({
    node: 'node1',
    now: () => 0,
    compile: (matches) => matches.map(() => ({ name: '', test: () => true })),
  })
  isDeaf = false
  refusal = ''
  keeper: Keeper

  constructor(keeper: Keeper) {
    this.keeper = keeper
  }

  post(message: ToThread): void {
    this.seen.push(`${message.type} ${'version' in message ? message.version : ''}`)
    if (this.isDeaf) return
    if (message.type === 'prepare' && this.refusal !== '') {
      setImmediate(() => this.keeper.handle(this, { type: 'refused', version: message.version, message: this.refusal }))
    } else if (message.type === 'prepare' || message.type === 'commit' || message.type === 'abort') {
      const answer = this.holder.handle(message) as Parameters<Keeper['handle']>[1] | null
      if (answer !== null) setImmediate(() => this.keeper.handle(this, answer))
    }
  }
}

describe('agent/mesh/keeper', () => {
  let clock: FakeClock
  let applied: string[]
  let keeper: Keeper
  let one: Thread
  let two: Thread

  beforeEach(async () => {
    clock = new FakeClock()
    applied = []
    keeper = new Keeper(clock, ({ version }) => applied.push(version))
    one = new Thread(keeper)
    two = new Thread(keeper)
    await keeper.join(one)
    await keeper.join(two)
  })

  it('prepares on all threads, then commits on all', async () => {
    expect(await keeper.offer(wanted('1', mesh, service('shop/a')))).to.equal(null)
    expect(one.seen).to.deep.equal(['prepare 1', 'commit 1'])
    expect(two.seen).to.deep.equal(one.seen)
    expect(two.holder.snapshot.services.has('shop/a')).to.equal(true)
    expect(applied).to.deep.equal(['1'])
  })

  it('leaves all threads as they were if one refuses', async () => {
    await keeper.offer(wanted('1', mesh))
    two.refusal = 'match m: too large'
    expect(await keeper.offer(wanted('2', mesh, service('shop/a')))).to.equal('match m: too large')
    expect(one.seen).to.deep.equal(['prepare 1', 'commit 1', 'prepare 2', 'abort 2'])
    expect(one.holder.snapshot.version).to.equal('1')
    expect(keeper.inForce.version).to.equal('1')
    two.refusal = ''
    expect(await keeper.offer(wanted('3', mesh, service('shop/a')))).to.equal(null)
    expect(one.holder.snapshot.services.has('shop/a')).to.equal(true)
  })

  it('refuses a snapshot without its mesh resource', async () => {
    expect(await keeper.offer(wanted('1', service('shop/a')))).to.equal('mesh mesh: is missing')
    expect(one.seen).to.deep.equal([])
  })

  it('sends only what differs from what is in force, also for a full transaction', async () => {
    await keeper.offer(wanted('1', mesh, service('shop/a'), endpoints('shop/a:80', '10.0.0.1')))
    const sent: string[] = []
    one.post = (message) => {
      if (message.type === 'prepare') sent.push(Buffer.from(message.change).toString())
      Thread.prototype.post.call(one, message)
    }
    await keeper.offer(wanted('2', mesh, service('shop/a'), endpoints('shop/b:80')))
    expect(sent).to.have.length(1)
    expect(sent[0]!.split('\n').map((line) => JSON.parse(line))).to.deep.equal([
      { type: 'set', resource: endpoints('shop/b:80') },
      { type: 'remove', kind: 'endpoints', name: 'shop/a:80' },
    ])
  })

  it('refuses what a thread does not answer for, and tells the others', async () => {
    await keeper.offer(wanted('1', mesh))
    two.isDeaf = true
    const outcome = keeper.offer(wanted('2', mesh, service('shop/a')))
    while (clock.pending !== 1) await new Promise(setImmediate)
    clock.tick(10_000)
    expect(await outcome).to.match(/data thread 0 did not answer within 10000 ms/)
    expect(one.seen.at(-1)).to.equal('abort 2')
    expect(one.holder.snapshot.version).to.equal('1')
  })

  it('does not wait for a thread that has gone', async () => {
    two.isDeaf = true
    const outcome = keeper.offer(wanted('1', mesh))
    await new Promise(setImmediate)
    keeper.leave(two)
    expect(await outcome).to.equal(null)
    expect(one.holder.snapshot.version).to.equal('1')
  })

  it('brings a thread that starts later up to what is in force', async () => {
    await keeper.offer(wanted('1', mesh, service('shop/a')))
    const three = new Thread(keeper)
    await keeper.join(three)
    expect(three.holder.snapshot.version).to.equal('1')
    expect(three.holder.snapshot.services.has('shop/a')).to.equal(true)
    await keeper.offer(wanted('2', mesh))
    expect(three.holder.snapshot.services.has('shop/a')).to.equal(false)
  })

  it('ignores answers that it does not wait for', async () => {
    keeper.handle(one, { type: 'refused', version: '0', message: 'late' })
    expect(await keeper.offer(wanted('1', mesh))).to.equal(null)
  })

  it('answers each prepare once', () => {
    const answer: FromThread | null = one.holder.handle({ type: 'abort', version: '9' })
    expect(answer).to.equal(null)
  })
})
