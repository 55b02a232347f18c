// The loop: makes streams, compares, and makes what differs as short as it can.

import { compare } from './compare.ts'
import { Dice } from './dice.ts'
import { requests, response } from './grammar.ts'
import { mutate } from './mutate.ts'

export interface Finding {
  readonly seed: number
  /** Of the request that the stream answers; null: a stream of requests. */
  readonly method: string | null
  readonly stream: string
  readonly difference: string
}

export interface Effort {
  /** Streams that were compared. */
  readonly streams: number
  readonly finding: Finding | null
}

/**
 * Fuzzes until the time is over or a difference is found. Stream number n of a seed is the same in every run.
 * @param onProgress called about every second
 */
export function fuzz(seed: number, seconds: number, onProgress: (streams: number) => void = () => {}): Effort {
  const endsAt = performance.now() + seconds * 1000
  let nextSaying = performance.now() + 1000
  let streams = 0
  for (; ; streams++) {
    const finding = tryOne(seed + streams)
    if (finding !== null) return { streams, finding }
    const now = performance.now()
    if (now > endsAt) return { streams, finding: null }
    if (now > nextSaying) {
      nextSaying = now + 1000
      onProgress(streams)
    }
  }
}

/** Makes the stream of one seed and compares it. */
export function tryOne(seed: number): Finding | null {
  const dice = new Dice(Math.imul(seed, 0x9e3779b1))
  const method = dice.chance(0.6) ? null : dice.pick(['GET', 'GET', 'POST', 'HEAD'])
  const make = () => (method === null ? requests(dice) : response(dice))
  const stream = dice.chance(0.5) ? make() : mutate(dice, make(), make())
  const difference = safely(stream, method, seed)
  if (difference === null) return null
  const shortest = shorten(stream, (text) => safely(text, method, seed) !== null)
  return { seed, method, stream: shortest, difference: safely(shortest, method, seed) ?? difference }
}

/** An exception that is no refusal is a finding too. */
function safely(stream: string, method: string | null, seed: number): string | null {
  try {
    return compare(stream, method, new Dice(seed))
  } catch (error) {
    return `threw ${(error as Error).stack}`
  }
}

/** Takes out ever smaller pieces as long as the stream still differs. */
function shorten(stream: string, isStillWrong: (text: string) => boolean): string {
  let text = stream
  for (let size = text.length >> 1; size >= 1; size >>= 1) {
    for (let at = 0; at + size <= text.length; ) {
      const without = text.slice(0, at) + text.slice(at + size)
      if (isStillWrong(without)) text = without
      else at += size
    }
  }
  return text
}
