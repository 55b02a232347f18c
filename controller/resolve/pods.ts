// Pods: who has which address, what runs on which node, where the agents are. The index follows the world from one state to
// the next: what that costs depends on what changed, not on how many pods there are.

import type { Key } from '../contract/resources.ts'
import type { Pod } from '../observe/objects.ts'
import { keysChanged } from '../observe/view.ts'
import { emptyWorld, type World } from '../observe/world.ts'
import { addressesOf, hasEnded, isYounger, type Seat, seatOf, startOf } from './seat.ts'
import type { Settings } from './settings.ts'
import type { MachineNode, PodNode } from './topology.ts'

export interface Pods {
  /** Who has an address. */
  byAddress: ReadonlyMap<string, Seat>
  /** Whether a pod is known with all that routing to it takes: endpoints may run ahead of their pod. */
  isAddressed(key: Key): boolean
  /** Sorted by name; nodes without pods and agent are listed too. */
  nodes: MachineNode[]
}

/** What is different from the world before. */
export interface PodChanges {
  /** Addresses that are somebody else's, or of somebody who has changed. */
  addresses: Set<string>
  /** Pods whose `isAddressed` is different. */
  keys: Set<Key>
}

/** Indexes all pods of the world. */
export function indexPods(world: World, settings: Settings): Pods {
  const index = new PodIndex(settings)
  index.follow(world)
  return index
}

/** A node of the cluster while it is known for anything. */
interface Machine {
  /** Whether there is a Node object. */
  isListed: boolean
  agents: Map<Key, Pod>
  /** Pods whose first address is really theirs. */
  seats: Set<Seat>
}

export class PodIndex implements Pods {
  readonly byAddress = new Map<string, Seat>()
  nodes: MachineNode[] = []
  readonly #settings: Settings
  #world: Pick<World, 'pods' | 'nodes'> = emptyWorld
  /** All that claim an address, where they are several. */
  readonly #rivals = new Map<string, Set<Seat>>()
  readonly #machines = new Map<string, Machine>()
  readonly #shown = new Map<string, MachineNode>()
  #touched = new Set<string>()
  #changes: PodChanges = { addresses: new Set(), keys: new Set() }

  constructor(settings: Settings) {
    this.#settings = settings
  }

  isAddressed(key: Key): boolean {
    return isAddressed(this.#world.pods.get(key))
  }

  /** Goes on to another world. */
  follow(world: Pick<World, 'pods' | 'nodes'>): PodChanges {
    const before = this.#world
    this.#world = { pods: world.pods, nodes: world.nodes }
    this.#touched = new Set()
    this.#changes = { addresses: new Set(), keys: new Set() }
    for (const name of keysChanged(before.nodes, world.nodes)) this.#machine(name).isListed = world.nodes.has(name)
    for (const key of keysChanged(before.pods, world.pods)) {
      this.#replace(key, before.pods.get(key), world.pods.get(key))
    }
    this.#rebuild()
    return this.#changes
  }

  #replace(key: Key, old: Pod | undefined, next: Pod | undefined): void {
    const oldSeat = old === undefined ? null : seatOf(old)
    const nextSeat = next === undefined ? null : seatOf(next, old)
    if (isAddressed(old) !== isAddressed(next)) this.#changes.keys.add(key)
    if (oldSeat !== nextSeat) {
      for (const address of oldSeat?.addresses ?? []) this.#withdraw(address, oldSeat!)
      for (const address of nextSeat?.addresses ?? []) this.#claim(address, nextSeat!)
    }
    if (old !== undefined && isAgent(old, this.#settings)) this.#machine(old.spec.nodeName).agents.delete(key)
    if (next !== undefined && isAgent(next, this.#settings)) this.#machine(next.spec.nodeName).agents.set(key, next)
  }

  #claim(address: string, seat: Seat): void {
    const holder = this.byAddress.get(address)
    if (holder === undefined) {
      this.#give(address, undefined, seat)
      return
    }
    const rivals = this.#rivals.get(address) ?? new Set([holder])
    this.#rivals.set(address, rivals.add(seat))
    if (isYounger(seat, holder)) this.#give(address, holder, seat)
  }

  #withdraw(address: string, seat: Seat): void {
    const rivals = this.#rivals.get(address)
    rivals?.delete(seat)
    if (rivals !== undefined && rivals.size < 2) this.#rivals.delete(address)
    if (this.byAddress.get(address) !== seat) return
    this.#give(address, seat, best([...(rivals ?? [])], isYounger))
  }

  /** Notes who has an address now. */
  #give(address: string, from: Seat | undefined, to: Seat | undefined): void {
    if (to === undefined) this.byAddress.delete(address)
    else this.byAddress.set(address, to)
    this.#changes.addresses.add(address)
    if (from !== undefined) {
      const machine = this.#machine(from.node)
      if (from.address === address) machine.seats.delete(from)
    }
    if (to !== undefined) {
      const machine = this.#machine(to.node)
      if (to.address === address) machine.seats.add(to)
    }
  }

  /** A machine that is about to change. */
  #machine(name = ''): Machine {
    const machine = this.#machines.get(name) ?? { isListed: false, agents: new Map(), seats: new Set() }
    this.#machines.set(name, machine)
    this.#touched.add(name)
    return machine
  }

  #rebuild(): void {
    let isChanged = false
    const size = this.#shown.size
    let isMember = true
    for (const name of this.#touched) {
      const machine = this.#machines.get(name)!
      const held = this.#shown.get(name)
      const next = this.#node(name, machine)
      if (next === null) this.#shown.delete(name)
      else if (held === undefined || !isEqual(next, held)) this.#shown.set(name, next)
      else continue
      isChanged = true
      isMember &&= held !== undefined
      if (!machine.isListed && machine.agents.size + machine.seats.size === 0) this.#machines.delete(name)
    }
    if (!isChanged) return
    // Most changes leave the list of names as it is.
    const isSameList = isMember && size === this.#shown.size
    this.nodes = isSameList
      ? this.nodes.map(({ name }) => this.#shown.get(name)!)
      : [...this.#shown.values()].sort((a, b) => (a.name < b.name ? -1 : 1))
  }

  /** @returns null if there is nothing to show */
  #node(name: string, { isListed, agents, seats }: Machine): MachineNode | null {
    const agent = best([...agents.values()].filter(isReady), isBetterAgent)
    const pods = [...seats].filter((seat) => !this.#isMeshPod(seat)).map((seat) => podNode(seat, this.byAddress))
    if (!isListed && agent === undefined && pods.length === 0) return null
    pods.sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0))
    return { name, agent: agent === undefined ? '' : addressesOf(agent).address, pods }
  }

  /** An agent is not its own caller: a request from its address is a loop. */
  #isMeshPod(seat: Seat): boolean {
    const pod = seat.namespace === this.#settings.namespace ? this.#world.pods.get(seat.key) : undefined
    return pod !== undefined && isAgent(pod, this.#settings)
  }
}

function isAddressed(pod: Pod | undefined): boolean {
  return pod !== undefined && (pod.spec.hostNetwork === true || seatOf(pod) !== null)
}

/** Equal nodes stay the same object: whoever made something of one need not do so again. */
function isEqual(a: MachineNode, b: MachineNode): boolean {
  return a.agent === b.agent && a.pods.length === b.pods.length && a.pods.every((pod, at) => pod === b.pods[at])
}

function best<T>(all: readonly T[], isBetter: (one: T, other: T) => boolean): T | undefined {
  return all.reduce<T | undefined>(
    (held, each) => (held === undefined || isBetter(each, held) ? each : held),
    undefined,
  )
}

/** Of a Seat, by whether its second address is its own. */
const podNodes = [new WeakMap<Seat, PodNode>(), new WeakMap<Seat, PodNode>()] as const

function podNode(seat: Seat, byAddress: ReadonlyMap<string, Seat>): PodNode {
  const { uid, key, address, secondAddress, account, workload, isLive, startedAt } = seat
  // The other one may have come to be a younger pod's.
  const isOwn = secondAddress !== undefined && byAddress.get(secondAddress) === seat
  const known = podNodes[isOwn ? 1 : 0]
  const made = known.get(seat) ?? {
    ...{ uid, key, address },
    ...(isOwn ? { secondAddress } : {}),
    ...{ account, workload, isLive, startedAt },
  }
  known.set(seat, made)
  return made
}

function isAgent(pod: Pod, settings: Settings): boolean {
  const { namespace, labels = {} } = pod.metadata
  return (
    namespace === settings.namespace &&
    Object.entries(settings.agentSelector).every(([label, value]) => labels[label] === value)
  )
}

function isReady(pod: Pod): boolean {
  const { status } = pod
  if (addressesOf(pod).address === '' || !pod.spec.nodeName || hasEnded(pod)) return false
  return status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') ?? false
}

/** While one agent replaces another on its node: the one that stays, else the younger. */
function isBetterAgent(pod: Pod, other: Pod): boolean {
  const leaves = pod.metadata.deletionTimestamp !== undefined
  const otherLeaves = other.metadata.deletionTimestamp !== undefined
  if (leaves !== otherLeaves) return otherLeaves
  const age = startOf(pod) - startOf(other)
  return age > 0 || (age === 0 && pod.metadata.uid > other.metadata.uid)
}
