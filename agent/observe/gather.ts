// Control thread: reads the data threads' counters where they lie and adds them up, by kind and labels. Nothing is asked
// of a data thread for it.

import type { SeriesChange, SeriesPlace } from '../mesh/thread.ts'

/** The counters of one data thread; those of an ended thread go on counting for the totals. */
class Shelf {
  readonly thread: number
  readonly stretches: Float64Array[] = []
  /** By kind, then by place. */
  readonly places = new Map<string, Map<string, SeriesPlace>>()
  readonly kinds = new Map<string, string>()
  isEnded = false

  constructor(thread: number) {
    this.thread = thread
  }
}

/** A series added up over all threads. */
export interface Total {
  readonly labels: readonly string[]
  readonly slots: Float64Array
}

export class Gatherer {
  readonly #shelves: Shelf[] = []

  /**
   * Begins to gather from a thread.
   * @param thread its number
   * @returns its handle for the other calls
   */
  join(thread: number): object {
    const shelf = new Shelf(thread)
    this.#shelves.push(shelf)
    return shelf
  }

  /** The thread has ended: its counts stay in the totals, its gauges don't. */
  leave(handle: object): void {
    this.#shelf(handle).isEnded = true
  }

  /** Takes a new stretch of slots. */
  addSlots(handle: object, buffer: SharedArrayBuffer): void {
    this.#shelf(handle).stretches.push(new Float64Array(buffer))
  }

  /** Takes the news about series. */
  change(handle: object, { added, freed }: SeriesChange): void {
    const { places, kinds } = this.#shelf(handle)
    for (const { stretch, first } of freed) {
      const place = `${stretch}:${first}`
      places.get(kinds.get(place) ?? '')?.delete(place)
    }
    for (const series of added) {
      const place = `${series.stretch}:${series.first}`
      kinds.set(place, series.kind)
      const ofKind = places.get(series.kind) ?? new Map<string, SeriesPlace>()
      places.set(series.kind, ofKind.set(place, series))
    }
  }

  /**
   * Adds up all series of a kind.
   * @param size slots of each
   * @param gauges slots that are gauges: an ended thread's don't count
   */
  totals(kind: string, size: number, gauges: readonly number[] = []): Total[] {
    const totals = new Map<string, Total>()
    for (const shelf of this.#shelves) {
      for (const { stretch, first, labels } of shelf.places.get(kind)?.values() ?? []) {
        const key = labels.join('\n')
        const total = totals.get(key) ?? { labels, slots: new Float64Array(size) }
        totals.set(key, total)
        const slots = shelf.stretches[stretch]!
        for (let i = 0; i < size; i++) {
          if (!(shelf.isEnded && gauges.includes(i))) total.slots[i]! += slots[first + i]!
        }
      }
    }
    return [...totals.values()]
  }

  /** A scalar of each thread that lives, and the sum of those that have ended. */
  scalar(slot: number): { live: { thread: number; value: number }[]; ended: number } {
    const live: { thread: number; value: number }[] = []
    let ended = 0
    for (const { thread, stretches, isEnded } of this.#shelves) {
      const value = stretches[0]?.[slot] ?? 0
      if (isEnded) ended += value
      else live.push({ thread, value })
    }
    return { live, ended }
  }

  #shelf(handle: object): Shelf {
    return handle as Shelf
  }
}
