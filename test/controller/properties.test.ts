// What holds in every world: the snapshot is the same whatever order events came in and however many passes lay between
// them, and deltas lead an agent to where a full snapshot would have put it. Worlds are made by chance, from fixed seeds.

import { expect } from 'chai'
import { buildNext, emptyStand, type Stand } from '../../agent/mesh/apply.ts'
import { compileAll } from '../../agent/mesh/compile.ts'
import type { Backend, Snapshot } from '../../agent/mesh/snapshot.ts'
import { contract } from '../../controller/contract/version.ts'
import { emptyWorld, type World } from '../../controller/observe/world.ts'
import { restMs } from '../../controller/resolve/meshports.ts'
import { resolve } from '../../controller/resolve/resolve.ts'
import { defaultSettings } from '../../controller/resolve/settings.ts'
import type { Topology } from '../../controller/resolve/topology.ts'
import { type Translated, type Translation, translate } from '../../controller/translate/translate.ts'
import { type Batch, openTrack, type Position } from '../../controller/transmit/track.ts'
import { type Generator, generator, shuffled, worldAfter } from '../support/generate.ts'
import { nowMs } from '../support/world.ts'

/** How many worlds, of how many events. */
const worlds = 30
const events = 80

const { newest } = contract

/** A pass that begins anew. */
function fresh(world: World, previous: Topology | null, at: number): Translated {
  const topology = resolve(world, defaultSettings, previous, at)
  return { topology, translation: translate(topology, defaultSettings) }
}

/** A pass that goes on from the one before. */
function next(world: World, before: Translated | null, at: number): Translated {
  const topology = resolve(world, defaultSettings, before?.topology ?? null, at)
  return { topology, translation: translate(topology, defaultSettings, before) }
}

/** What an agent makes of batches. */
function apply(stand: Stand, ...batches: Batch[]): Stand {
  const lines = Buffer.concat(batches.map(({ plain }) => plain))
  const surroundings = { node: 'node1', now: () => 0, compile: compileAll }
  return buildNext(stand, '1', lines.subarray(0, Math.max(0, lines.length - 1)), surroundings).stand
}

/** A snapshot as text: the same text, the same frames. */
function textOf({ common, nodes, services, problems }: Translation): string {
  const lines = (list: readonly { text: string }[]) => list.map(({ text }) => text)
  const all = {
    common: lines(common),
    nodes: [...nodes].map(([node, list]) => [node, lines(list)]),
    services,
    problems,
  }
  return JSON.stringify(all, null, 1)
}

function each(title: string, check: (make: Generator, seed: number) => void): void {
  it(title, () => {
    for (let seed = 1; seed <= worlds; seed++) {
      try {
        check(generator(seed), seed)
      } catch (thrown) {
        throw new Error(`in the world of seed ${seed}`, { cause: thrown })
      }
    }
  })
}

function eventsOf(make: Generator) {
  return Array.from({ length: events }, () => make.event())
}

/** Backends with the addresses behind them. */
function shown(snapshot: Snapshot) {
  const backend = ({ key, endpoints, policy }: Backend) => [key, policy, endpoints.map(({ spec }) => spec)]
  return {
    services: [...snapshot.services.values()]
      .map(({ key, uid, enrolled, address, policy, ports }) => ({
        ...{ key, uid, enrolled, address, policy },
        ports: [...ports.values()].map(({ number, protocol, own, splits }) => ({
          ...{ number, protocol, own: backend(own) },
          splits: splits.map(({ name, total, matches, choices }) => ({
            ...{ name, total, matches: matches?.map((match) => match.name) ?? null },
            choices: choices.map((choice) => [choice.weight, backend(choice.backend)]),
          })),
        })),
      }))
      .sort((a, b) => (a.key < b.key ? -1 : 1)),
    ...Object.fromEntries(
      (['ports', 'workloads', 'peers', 'namespaces', 'access'] as const).map((part) => [
        part,
        [...snapshot[part].values()].sort((a, b) => (a.name < b.name ? -1 : 1)),
      ]),
    ),
    mesh: snapshot.mesh,
  }
}

describe('properties', () => {
  each('objects in any order give the same topology and snapshot', (make) => {
    const world = worldAfter(emptyWorld, ...eventsOf(make))
    const first = fresh(world, null, nowMs)
    for (let turn = 0; turn < 3; turn++) {
      const again = fresh(shuffled(world, make), null, nowMs)
      expect(textOf(again.translation)).to.equal(textOf(first.translation))
      expect(again.topology).to.deep.equal(first.topology)
    }
  })

  each('events in any order, with passes between them, lead to the same snapshot', (make) => {
    const list = eventsOf(make)
    const wanted = textOf(fresh(worldAfter(emptyWorld, ...list), null, nowMs).translation)
    // The last event of each object decides; the others may come whenever they like before it.
    const last = new Map(list.map((event) => [`${event.kind} ${event.key}`, event]))
    const early = list.filter((event) => ![...last.values()].includes(event))
    const begin = nowMs - 5 * restMs
    let world = emptyWorld
    let pass: Translated | null = null
    for (const event of make.shuffle(early)) {
      world = worldAfter(world, event)
      if (make.below(4) === 0) pass = next(world, pass, begin)
    }
    world = worldAfter(world, ...make.shuffle([...last.values()]))
    // What the mesh remembers of Services that left, and then of their ports, ends with time.
    for (let at = begin; at <= nowMs; at += restMs) pass = next(world, pass, at)
    expect(textOf(pass!.translation)).to.equal(wanted)
  })

  each('a pass that goes on from the one before gives what one that begins anew would', (make) => {
    let world = emptyWorld
    let pass: Translated | null = null
    for (const [index, event] of eventsOf(make).entries()) {
      // Some pass has several events, some pass has none but the time.
      const isQuiet = make.below(8) === 0
      if (!isQuiet) world = worldAfter(world, event)
      if (make.below(3) === 0) continue
      const at = nowMs + index * 30_000
      const anew = fresh(world, pass === null ? null : structuredClone(pass.topology), at)
      pass = next(world, pass, at)
      expect(pass.topology).to.deep.equal(anew.topology)
      expect(textOf(pass.translation)).to.equal(textOf(anew.translation))
    }
  })

  each('deltas in order, some skipped, lead to what the full snapshot leads to', (make) => {
    const common = openTrack()
    const node = openTrack()
    let world = emptyWorld
    let pass: Translated | null = null
    let stand = emptyStand
    let sent: { common: Position; node: Position } | null = null
    for (const [index, event] of eventsOf(make).entries()) {
      world = worldAfter(world, event)
      if (make.below(3) > 0) continue
      pass = next(world, pass, nowMs + index * 60_000)
      common.advance(pass.translation.common)
      node.advance(pass.translation.nodes.get('node1') ?? [])
      // A slow agent gets the next state, and never learns of this one.
      if (make.below(3) === 0) continue
      const batches: Batch[] = [common.since(sent?.common ?? null, newest), node.since(sent?.node ?? null, newest)]
      stand = apply(stand, ...batches)
      sent = { common: batches[0]!.to, node: batches[1]!.to }
      const full = apply(emptyStand, common.since(null, newest), node.since(null, newest))
      expect(shown(stand.snapshot)).to.deep.equal(shown(full.snapshot))
    }
  })
})
