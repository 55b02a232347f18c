// Mesh ports: who gets which. The Services that the controller wrote are the record; where they say nothing, a port follows
// from its owner's name, so that replicas come to the same without asking each other. A port given back rests, so that a
// late connection never reaches another service.

import { createHash } from 'node:crypto'
import type { Key } from '../contract/resources.ts'
import type { World } from '../observe/world.ts'
import { type Claim, readClaims } from './claims.ts'
import { labels, manager, toKey } from './names.ts'
import type { Settings } from './settings.ts'
import type { PortBook, Topology } from './topology.ts'

/** How long a port stays unused after it was given back. */
export const restMs = 10 * 60_000

/** Someone who needs a mesh port. */
export interface Wish {
  owner: string
  /** Of two that claim one port, the older keeps it. Shared ports count as older than any Service. */
  createdAt: number
}

export interface Allocation {
  byOwner: ReadonlyMap<string, number>
  book: PortBook
  /** Owners that lost the port that a Service records for them, and to whom. */
  clashes: { meshPort: number; owner: string; winner: string }[]
  /** Owners for which no port was left. */
  exhausted: string[]
}

const sharedPrefix = 'shared:'

export function sharedOwner(port: number): string {
  return `${sharedPrefix}${port}`
}

export function dedicatedOwner(service: Key, port: number): string {
  return `${service}:${port}`
}

/** What the cluster knows of mesh ports. */
export interface PortRecord {
  /** By the Services that have them. */
  claims: Claim[]
  /** By the mesh Service, for shadow Services that may not be there yet. */
  claimed?: Claim[]
  resting: PortBook['resting']
}

/** What the Services in the cluster record. */
export function readRecord(world: World, settings: Settings): PortRecord {
  const claims: Claim[] = []
  let claimed: Claim[] = []
  let resting: PortBook['resting'] = []
  for (const service of world.services.values()) {
    const { name, namespace, labels: of = {}, annotations = {} } = service.metadata
    if (namespace !== settings.namespace) continue
    const isMesh = name === settings.meshService
    const ownerNamespace = of[labels.namespace]
    const ownerName = of[labels.service]
    const isShadow = of[labels.managedBy] === manager && ownerNamespace !== undefined && ownerName !== undefined
    if (isMesh) {
      resting = readResting(annotations[labels.resting])
      claimed = readClaims(annotations)
    }
    for (const { name: portName, port, targetPort } of service.spec.ports ?? []) {
      if (typeof targetPort !== 'number') continue
      if (isMesh && portName === `p-${port}`) claims.push({ meshPort: targetPort, owner: sharedOwner(port) })
      else if (!isMesh && isShadow)
        claims.push({ meshPort: targetPort, owner: dedicatedOwner(toKey(ownerNamespace, ownerName), port) })
    }
  }
  return { claims, claimed, resting }
}

/** How resting ports are recorded on the mesh Service; what can't be read is as good as nothing. */
export function writeResting(resting: PortBook['resting']): string {
  return JSON.stringify(resting.map(({ meshPort, owner, sinceMs }) => [meshPort, owner, sinceMs]))
}

function readResting(text: string | undefined): PortBook['resting'] {
  if (text === undefined) return []
  try {
    const list: unknown = JSON.parse(text)
    if (!Array.isArray(list)) return []
    return list.flatMap((entry) => {
      const [meshPort, owner, sinceMs] = Array.isArray(entry) ? entry : []
      const isValid = Number.isInteger(meshPort) && typeof owner === 'string' && Number.isFinite(sinceMs)
      return isValid ? [{ meshPort, owner, sinceMs }] : []
    })
  } catch {
    return []
  }
}

/**
 * Gives every wish its mesh port.
 * @param record what the cluster's Services say; it wins over `previous`
 * @param previous the book before: what was given and may not be recorded yet
 * @param nowMs milliseconds since the epoch
 */
export function allocate(
  wishes: Wish[],
  record: PortRecord,
  previous: PortBook | null,
  range: Settings['meshPorts'],
  nowMs: number,
): Allocation {
  const wanted = new Map(wishes.map((wish) => [wish.owner, wish]))
  const book = new Desk(range, wanted)
  const age = ({ owner }: Claim): number => wanted.get(owner)?.createdAt ?? Number.POSITIVE_INFINITY
  const oldestFirst = (a: Claim, b: Claim): number =>
    age(a) - age(b) || (a.owner < b.owner ? -1 : a.owner > b.owner ? 1 : a.meshPort - b.meshPort)

  const { claims, claimed = [] } = record
  for (const claim of [...claims, ...claimed].sort(oldestFirst)) book.keep(claim, true)
  for (const claim of previous?.ports ?? []) book.keep(claim, false)

  const resting = stillResting(record, previous, book, nowMs)
  for (const { meshPort, owner } of resting.values()) book.keep({ meshPort, owner }, false)
  for (const meshPort of book.byPort.keys()) resting.delete(meshPort)

  // A rest may be over while the Service that had the port is still there: deleting it may take its time.
  const dedicated = new Set(
    claims.filter(({ owner }) => !owner.startsWith(sharedPrefix)).map(({ meshPort }) => meshPort),
  )
  const isTaken = (meshPort: number) => resting.has(meshPort) || dedicated.has(meshPort)
  const open = wishes.filter(({ owner }) => !book.byOwner.has(owner))
  const exhausted: string[] = []
  for (const { owner } of open.sort((a, b) => a.createdAt - b.createdAt || (a.owner < b.owner ? -1 : 1))) {
    if (!book.give(owner, isTaken)) exhausted.push(owner)
  }
  const ports = [...book.byPort]
    .map(([meshPort, owner]) => ({ meshPort, owner }))
    .sort((a, b) => a.meshPort - b.meshPort)
  const shown = new Set(claims.map(({ meshPort, owner }) => `${meshPort} ${owner}`))
  const unshown = ports.filter(
    ({ meshPort, owner }) => !owner.startsWith(sharedPrefix) && !shown.has(`${meshPort} ${owner}`),
  )
  return {
    byOwner: book.byOwner,
    book: {
      ports,
      ...(unshown.length === 0 ? {} : { claimed: unshown }),
      resting: [...resting.values()].sort((a, b) => a.meshPort - b.meshPort),
    },
    clashes: book.clashes.filter(({ owner, meshPort }) => book.byOwner.get(owner) !== meshPort),
    exhausted,
  }
}

/** Ports that somebody had and nobody holds now, until their rest is over. */
function stillResting(
  record: PortRecord,
  previous: PortBook | null,
  { byPort, range }: Desk,
  nowMs: number,
): Map<number, PortBook['resting'][number]> {
  const resting = new Map<number, PortBook['resting'][number]>()
  // The mesh Service keeps ports that rest: that it still records one is no new release.
  const rested = new Set<number>()
  for (const entry of [...record.resting, ...(previous?.resting ?? [])]) {
    if (nowMs - entry.sinceMs >= restMs) rested.add(entry.meshPort)
    else if (!byPort.has(entry.meshPort)) resting.set(entry.meshPort, entry)
  }
  for (const { meshPort, owner } of [...record.claims, ...(record.claimed ?? []), ...(previous?.ports ?? [])]) {
    if (byPort.has(meshPort) || resting.has(meshPort) || rested.has(meshPort)) continue
    if (meshPort >= range.first && meshPort <= range.last) resting.set(meshPort, { meshPort, owner, sinceMs: nowMs })
  }
  return resting
}

/**
 * Shared ports that rest. They stay in the mesh Service and open on the agents: whoever still has its address from DNS is
 * to be told that there is no such service, not to wait for a connection.
 */
export function restingShared({ sharedPorts, portBook }: Pick<Topology, 'sharedPorts' | 'portBook'>) {
  const used = new Set(sharedPorts.map(({ port }) => port))
  const found: Topology['sharedPorts'] = []
  for (const { meshPort, owner } of portBook.resting) {
    const port = Number(owner.slice(sharedPrefix.length))
    if (!owner.startsWith(sharedPrefix) || !(port >= 1 && port <= 65_535) || used.has(port)) continue
    used.add(port)
    found.push({ meshPort, port })
  }
  return found
}

/** The allocation while it is made: at most one port for an owner, one owner for a port. */
class Desk {
  readonly byPort = new Map<number, string>()
  readonly byOwner = new Map<string, number>()
  readonly clashes: Allocation['clashes'] = []
  readonly range: Settings['meshPorts']
  readonly wanted: ReadonlyMap<string, Wish>

  constructor(range: Settings['meshPorts'], wanted: ReadonlyMap<string, Wish>) {
    this.range = range
    this.wanted = wanted
  }

  /** Lets an owner keep a port, if it still wants one and nobody else has it. */
  keep({ meshPort, owner }: Claim, isRecorded: boolean): void {
    if (!this.wanted.has(owner) || meshPort < this.range.first || meshPort > this.range.last) return
    const winner = this.byPort.get(meshPort)
    if (winner !== undefined) {
      if (winner !== owner && isRecorded) this.clashes.push({ meshPort, owner, winner })
      return
    }
    if (this.byOwner.has(owner)) return
    this.byPort.set(meshPort, owner)
    this.byOwner.set(owner, meshPort)
  }

  /** Gives an owner the first free port from where its name points. */
  give(owner: string, isTaken: (meshPort: number) => boolean): boolean {
    const { first, last } = this.range
    const size = last - first + 1
    const start = createHash('sha256').update(owner).digest().readUInt32BE() % size
    for (let step = 0; step < size; step++) {
      const meshPort = first + ((start + step) % size)
      if (this.byPort.has(meshPort) || isTaken(meshPort)) continue
      this.byPort.set(meshPort, owner)
      this.byOwner.set(owner, meshPort)
      return true
    }
    return false
  }
}
