// Tracks: from whichever state an agent has to the newest, encoded once; and whether the sum of all ways is the same.

import { gunzipSync } from 'node:zlib'
import { expect } from 'chai'
import type { Message } from '../../../controller/contract/messages.ts'
import { contract } from '../../../controller/contract/version.ts'
import type { Encoded } from '../../../controller/translate/translate.ts'
import { type Batch, joinVersions, openTrack, type Position } from '../../../controller/transmit/track.ts'

function peer(name: string, address = '10.0.0.1'): Encoded {
  const resource = { kind: 'peer' as const, name, address, port: 15008 }
  const text = JSON.stringify(resource)
  return { resource, text, hash: text }
}

const range = (count: number, address?: string) => Array.from({ length: count }, (_each, i) => peer(`n${i}`, address))

/** An agent's set after a batch, by name. */
function apply(held: ReadonlyMap<string, string>, batch: Batch): Map<string, string> {
  const next = new Map(batch.isFull ? [] : held)
  const lines = batch.plain.toString().split('\n').filter(Boolean)
  expect(lines).to.have.length(batch.count)
  for (const line of lines) {
    const message = JSON.parse(line) as Message
    if (message.type === 'set' && message.resource.kind === 'peer')
      next.set(message.resource.name, message.resource.address)
    if (message.type === 'remove') next.delete(message.name)
  }
  return next
}

describe('track', () => {
  it('gives everything to who has nothing, and what changed to who has something', () => {
    const track = openTrack()
    expect(track.advance([peer('a'), peer('b')])).to.equal(true)
    const first = track.since(null, 2)
    expect(first).to.include({ isFull: true, count: 2 })
    expect(track.advance([peer('b', '10.0.0.2'), peer('c')])).to.equal(true)
    const second = track.since(first.to, 2)
    expect(second).to.include({ isFull: false, count: 3 })
    expect([...apply(apply(new Map(), first), second)]).to.deep.equal([
      ['b', '10.0.0.2'],
      ['c', '10.0.0.1'],
    ])
    expect(track.since(second.to, 2)).to.include({ isFull: false, count: 0 })
  })

  it('does not move when nothing changed', () => {
    const track = openTrack()
    const resources = [peer('a'), peer('b')]
    track.advance(resources)
    const { version, serial } = track
    expect(track.advance(resources)).to.equal(false)
    expect(track.advance([peer('b'), peer('a')])).to.equal(false)
    expect(track).to.include({ version, serial })
  })

  it('names equal content equally, whichever way led there', () => {
    const [one, other] = [openTrack(), openTrack()]
    one.advance([peer('a'), peer('b')])
    for (const step of [[peer('b', '10.9.9.9')], range(20), [], [peer('b'), peer('a')]]) other.advance(step)
    expect(other.version).to.equal(one.version)
    expect(joinVersions(one, other)).to.equal(joinVersions(other, one))
    other.advance([peer('a'), peer('b', '10.0.0.2')])
    expect(other.version).to.not.equal(one.version)
  })

  it('encodes each way once for all who ask, and skips what came and went', async () => {
    const track = openTrack()
    track.advance(range(100))
    const { to } = track.since(null, 2)
    track.advance([...range(100), peer('brief')])
    track.advance([...range(99), peer('n99', '10.0.0.2')])
    const before = track.encoded
    const batches = Array.from({ length: 1000 }, () => track.since(to, 2))
    expect(new Set(batches).size).to.equal(1)
    expect(track.encoded - before).to.equal(1)
    expect(batches[0]).to.include({ count: 2, isFull: false })
    expect(await batches[0]!.gzip).to.equal(await batches[999]!.gzip)
    expect(gunzipSync(await batches[0]!.gzip)).to.deep.equal(batches[0]!.plain)
    expect(batches[0]!.plain.length, 'bytes follow the change, not the cluster').to.be.lessThan(200)
    track.since(to, 1)
    expect(track.encoded - before, 'once more for the older contract').to.equal(2)
  })

  it('gives a full snapshot to who has missed more than it remembers, or comes from another track', () => {
    const track = openTrack()
    track.advance([peer('a')])
    const { to: early } = track.since(null, 2)
    for (let round = 0; round < 2; round++) track.advance(range(1000, `10.0.0.${round}`))
    const { to: late } = track.since(null, 2)
    track.advance(range(1000, '10.0.1.1'))
    expect(track.since(late, 2).isFull).to.equal(false)
    expect(track.since(early, 2)).to.include({ isFull: true, count: 1000 })
    const other = openTrack()
    other.advance([peer('a')])
    expect(track.since(other.since(null, 2).to, 2).isFull).to.equal(true)
  })

  it('does not grow with the changes of weeks', () => {
    const track = openTrack()
    track.advance(range(10))
    const { to } = track.since(null, 2)
    for (let round = 0; round < 99; round++) track.advance([...range(9), peer('n9', `10.0.0.${round + 2}`)])
    expect(track.since(to, 2), 'few resources, some changes').to.include({ isFull: false, count: 1 })
    for (let round = 0; round < 99; round++) track.advance([...range(9), peer('n9', `10.0.1.${round + 2}`)])
    expect(track.since(to, 2).isFull).to.equal(true)
  })

  it('leads to the same from everywhere, in any order of changes', () => {
    let seed = 7
    const random = (below: number) => {
      seed = (seed * 1103515245 + 12345) % 2147483648
      return seed % below
    }
    const track = openTrack()
    const agents: { held: Map<string, string>; at: Position | null }[] = Array.from({ length: 8 }, () => ({
      held: new Map(),
      at: null,
    }))
    const state = new Map<string, string>()
    const made = new Map<string, Encoded>()
    for (let round = 0; round < 300; round++) {
      for (let change = random(4); change >= 0; change--) {
        const name = `n${random(30)}`
        if (random(3) === 0) state.delete(name)
        else state.set(name, `10.0.0.${random(5)}`)
      }
      // As `translate` does it: what did not change is mostly the very same object.
      track.advance(
        [...state].map(([name, address]) => {
          const key = `${name} ${address}`
          if (!made.has(key) || random(10) === 0) made.set(key, peer(name, address))
          return made.get(key)!
        }),
      )
      for (const agent of agents) {
        // Each follows at a pace of its own.
        if (random(agents.indexOf(agent) + 1) !== 0) continue
        const batch = track.since(agent.at, contract.newest)
        agent.held = apply(agent.held, batch)
        agent.at = batch.to
        expect(Object.fromEntries(agent.held)).to.deep.equal(Object.fromEntries(state))
      }
    }
  })
})
