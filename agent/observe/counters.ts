// Data thread: counts into slots of shared memory that only this thread writes and the control thread reads whenever it
// is asked. An increment is a plain add; labels are told once, when a series begins. Series belong to a Service and
// expire some time after it has left the snapshot.

import type { Key } from '../../controller/contract/resources.ts'
import { reasons } from '../errors.ts'
import type { Direction } from '../exchange.ts'
import type { Post, SeriesPlace } from '../mesh/thread.ts'
import {
  bucketOf,
  type CellKind,
  cells,
  classOf,
  route,
  type ScalarName,
  scalar,
  scalars,
  slotsOf,
  statusClasses,
  stream,
} from './series.ts'

/** 32 KiB: 146 routes. */
const stretchSlots = 4096
/** As long as Linkerd keeps idle series: a redeployed Service goes on where it was, a deleted one is forgotten. */
const expiryMs = 600_000
const sweepMs = 60_000

/** A number of slots in a row. */
export interface Place {
  slots: Float64Array
  first: number
  readonly stretch: number
  readonly size: number
}

/** Where what has expired goes on counting, unseen: an exchange may outlive its series. */
const void64 = new Float64Array(route.size)

/** Requests of one (direction, service, port, backend). */
export class RouteSeries {
  readonly place: Place
  readonly #labels: readonly string[]
  readonly #ended: (labels: readonly string[]) => void

  constructor(place: Place, labels: readonly string[], ended: (labels: readonly string[]) => void) {
    this.place = place
    this.#labels = labels
    this.#ended = ended
  }

  /**
   * Counts an exchange that has ended.
   * @param status the status sent to the caller; 0 if none was
   * @param reason reasonNumber of the reason, -1 if the mesh did not end it
   */
  settle(status: number, reason: number, durationMs: number, bytesUp: number, bytesDown: number): void {
    const { slots, first } = this.place
    if (reason < 0) slots[first + classOf(status)]! += 1
    else this.#ended([...this.#labels, statusClasses[classOf(status)]!, reasons[reason]!])
    slots[first + route.buckets + bucketOf(durationMs)]! += 1
    slots[first + route.sumMs]! += durationMs
    slots[first + route.bytesUp]! += bytesUp
    slots[first + route.bytesDown]! += bytesDown
  }
}

/** Opaque connections of one (direction, service, port, backend). */
export class StreamSeries {
  readonly place: Place
  readonly #labels: readonly string[]
  readonly #closed: (labels: readonly string[]) => void

  constructor(place: Place, labels: readonly string[], closed: (labels: readonly string[]) => void) {
    this.place = place
    this.#labels = labels
    this.#closed = closed
  }

  /** A connection has begun; `settle` must follow. */
  open(): void {
    this.place.slots[this.place.first + stream.open]! += 1
  }

  /** Bytes that went by, told while the connection lives. */
  bytes(up: number, down: number): void {
    const { slots, first } = this.place
    slots[first + stream.bytesUp]! += up
    slots[first + stream.bytesDown]! += down
  }

  /**
   * A connection has ended.
   * @param reason reasonNumber of the reason, -1 if the mesh did not end it
   */
  settle(reason: number): void {
    this.place.slots[this.place.first + stream.open]! -= 1
    this.#closed([...this.#labels, reason < 0 ? '' : reasons[reason]!])
  }
}

/** The series of one Service. */
interface Owner {
  readonly routes: Map<string, RouteSeries>
  readonly inbound: Map<string, RouteSeries>
  readonly streams: Map<string, StreamSeries>
  readonly cells: Map<string, Place>
  /** When it was found to have left the snapshot (clock's ms); 0 while it is there. */
  goneAt: number
}

/** What stands in every label of the series that take what is beyond the limit: one for each kind and direction. */
const other = '(other)'

/** Makes each value once. */
function lazily<K extends string, V>(make: (key: K) => V): (key: K) => V {
  const made = new Map<K, V>()
  return (key) => {
    const value = made.get(key) ?? make(key)
    made.set(key, value)
    return value
  }
}

export class Counters {
  readonly #post: Post
  readonly #limit: number
  readonly #owners = new Map<Key, Owner>()
  readonly #free = new Map<number, Place[]>()
  readonly #scalars: Float64Array
  #slots: Float64Array
  #stretches = 0
  #next = 0
  #series = 0
  readonly #others = {
    route: lazily((direction: Direction) => this.#makeRoute('', otherRoute(direction))),
    stream: lazily((direction: Direction) => this.#makeStream('', otherRoute(direction))),
    cell: lazily((kind: CellKind) =>
      this.#allocate(
        kind,
        slotsOf(kind),
        cells[kind].map(() => other),
      ),
    ),
  }
  #added: SeriesPlace[] = []
  #freed: { stretch: number; first: number }[] = []
  #services: ReadonlyMap<Key, unknown> | null = null
  #sweptAt = 0

  /**
   * @param post tells the control thread where the counters are
   * @param limit label sets at the most; what is beyond counts under the Service (other)
   */
  constructor(post: Post, limit: number) {
    this.#post = post
    this.#limit = limit
    this.#slots = this.#grow()
    this.#scalars = this.#slots
    this.#next = scalars.length
  }

  /** Adds to a scalar. */
  add(name: ScalarName, amount = 1): void {
    this.#scalars[scalar[name]]! += amount
  }

  /** Sets a scalar: for what is counted elsewhere and sampled once a second. */
  set(name: ScalarName, value: number): void {
    this.#scalars[scalar[name]] = value
  }

  /**
   * The series of requests to a Service's port by a backend. Two look-ups: keep it where you can.
   * @param service `namespace/name`; '' if no Service was found
   * @param backend `namespace/name:port`; '' if none was chosen
   */
  route(direction: Direction, service: Key, port: number, backend: string): RouteSeries {
    const owner = this.#owner(service)
    const known = (direction === 'inbound' ? owner.inbound : owner.routes).get(backend || String(port))
    return known ?? this.#addRoute(direction, service, port, backend)
  }

  /** The series of opaque connections; parameters as for `route`. */
  stream(direction: Direction, service: Key, port: number, backend: string): StreamSeries {
    const { streams } = this.#owner(service)
    const key = `${direction} ${backend || port}`
    const known = streams.get(key)
    if (known !== undefined) return known
    if (this.#isFull()) return this.#others.stream(direction)
    const made = this.#makeStream(service, routeLabels(direction, service, port, backend))
    streams.set(key, made)
    return made
  }

  /**
   * Counts something rare.
   * @param service whose series it is
   * @param labels values in the order of `cells`, all from closed sets
   */
  count(kind: CellKind, service: Key, labels: readonly string[], amount = 1): void {
    const { slots, first } = this.cell(kind, service, labels)
    slots[first]! += amount
  }

  /** The slots that `count` adds to the first of: for this moment only, since they may expire. */
  cell(kind: CellKind, service: Key, labels: readonly string[]): Place {
    const owner = this.#owner(service)
    const key = `${kind} ${labels.join(' ')}`
    let place = owner.cells.get(key)
    if (place === undefined && this.#isFull()) place = this.#others.cell(kind)
    else if (place === undefined) {
      place = this.#allocate(kind, slotsOf(kind), labels)
      owner.cells.set(key, place)
    }
    return place
  }

  /** Counts another attempt at a request. */
  retried(service: Key, port: number, reason: string): void {
    this.count('retries', service, [...namesOf(service), String(port), reason])
  }

  /** Counts a copy of a request. @param target the Service that gets the copies */
  mirrored(service: Key, port: number, target: Key, outcome: string): void {
    this.count('mirrors', service, [...namesOf(service), String(port), target, outcome])
  }

  /** Counts a breaker's change. @param backend `namespace/name:port` */
  breakerMoved(backend: string, state: string): void {
    const colon = backend.lastIndexOf(':')
    const service = backend.slice(0, colon)
    this.count('breakers', service, [...namesOf(service), backend.slice(colon + 1), state])
  }

  /** Tells which Services there are; others' series expire. */
  retain(services: ReadonlyMap<Key, unknown>): void {
    this.#services = services
  }

  /** Called about once a second: forgets series that have expired. @param now clock's ms */
  tick(now: number): void {
    if (this.#services === null || now - this.#sweptAt < sweepMs) return
    this.#sweptAt = now
    for (const [service, owner] of this.#owners) {
      if (service === '' || this.#services.has(service)) owner.goneAt = 0
      else if (owner.goneAt === 0) owner.goneAt = now
      else if (now - owner.goneAt >= expiryMs) this.#forget(service, owner)
    }
  }

  #owner(service: Key): Owner {
    const known = this.#owners.get(service)
    if (known !== undefined) return known
    const owner: Owner = { routes: new Map(), inbound: new Map(), streams: new Map(), cells: new Map(), goneAt: 0 }
    this.#owners.set(service, owner)
    return owner
  }

  #addRoute(direction: Direction, service: Key, port: number, backend: string): RouteSeries {
    if (this.#isFull()) return this.#others.route(direction)
    const owner = this.#owner(service)
    const made = this.#makeRoute(service, routeLabels(direction, service, port, backend))
    const series = direction === 'inbound' ? owner.inbound : owner.routes
    series.set(backend || String(port), made)
    return made
  }

  #makeRoute(service: Key, labels: readonly string[]): RouteSeries {
    const place = this.#allocate(route.kind, route.size, labels)
    return new RouteSeries(place, labels, (full) => this.count('ended', service, full))
  }

  #makeStream(service: Key, labels: readonly string[]): StreamSeries {
    const place = this.#allocate(stream.kind, stream.size, labels)
    return new StreamSeries(place, labels, (full) => this.count('closed', service, full))
  }

  #isFull(): boolean {
    if (this.#series < this.#limit) return false
    this.add('seriesRefused')
    return true
  }

  #allocate(kind: string, size: number, labels: readonly string[]): Place {
    const place = this.#free.get(size)?.pop() ?? this.#carve(size)
    this.#series++
    this.#added.push({ kind, stretch: place.stretch, first: place.first, labels: [...labels] })
    this.#announce()
    return place
  }

  #carve(size: number): Place {
    if (this.#next + size > stretchSlots) {
      this.#slots = this.#grow()
      this.#next = 0
    }
    const place = { slots: this.#slots, first: this.#next, stretch: this.#stretches - 1, size }
    this.#next += size
    return place
  }

  #grow(): Float64Array {
    const buffer = new SharedArrayBuffer(stretchSlots * Float64Array.BYTES_PER_ELEMENT)
    this.#post({ type: 'slots', buffer })
    this.#stretches++
    return new Float64Array(buffer)
  }

  #forget(service: Key, owner: Owner): void {
    this.#owners.delete(service)
    for (const { place } of owner.routes.values()) this.#release(place)
    for (const { place } of owner.inbound.values()) this.#release(place)
    for (const { place } of owner.streams.values()) this.#release(place)
    for (const place of owner.cells.values()) this.#release(place)
  }

  #release(place: Place): void {
    const { slots, first, stretch, size } = place
    slots.fill(0, first, first + size)
    place.slots = void64
    place.first = 0
    const free = this.#free.get(size)
    if (free === undefined) this.#free.set(size, [{ slots, first, stretch, size }])
    else free.push({ slots, first, stretch, size })
    this.#series--
    this.#freed.push({ stretch, first })
    this.#announce()
  }

  /** One message for all series of a turn. */
  #announce(): void {
    if (this.#added.length + this.#freed.length !== 1) return
    setImmediate(() => {
      const added = this.#added
      const freed = this.#freed
      this.#added = []
      this.#freed = []
      this.#post({ type: 'series', added, freed })
    })
  }
}

/** `namespace/name` as two labels. */
function namesOf(service: Key): [string, string] {
  const slash = service.indexOf('/')
  return [service.slice(0, Math.max(0, slash)), service.slice(slash + 1)]
}

function routeLabels(direction: Direction, service: Key, port: number, backend: string): string[] {
  return [
    direction,
    ...namesOf(service),
    port === 0 ? '' : String(port),
    backend.slice(0, Math.max(0, backend.lastIndexOf(':'))),
  ]
}

function otherRoute(direction: Direction): string[] {
  return [direction, other, other, other, other]
}
