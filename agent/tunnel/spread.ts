// A peer's data threads share one port, and the kernel puts each connection on one of them: with a single session all
// streams of two accounts would end up on one thread of the peer. Its answers name the thread (`weft-thread: 1/4`), and a
// busy group opens sessions until it has met every thread, or has tried often enough.

import type { Group, Live } from './group.ts'
import type { Header } from './hpack.ts'
import { findHeader } from './payload.ts'

/** Header of the answer to a CONNECT. */
export const threadHeader = 'weft-thread'
/** So many streams for each thread that was met are worth looking for another. */
const streamsPerThread = 8
/** Tries for each thread that the peer has: with four threads one is missed once in 10,000 times. */
const triesPerThread = 8
const maxThreads = 64

/** What a data thread says of itself; nothing where there is only one. */
export function threadHeaders(thread: number, threads: number): readonly Header[] {
  return threads > 1 ? [[threadHeader, `${thread}/${threads}`]] : []
}

/**
 * Notes which thread of the peer a session has led to.
 * @param headers of the answer to a CONNECT; those of an older or foreign peer say nothing of threads
 */
export function meet(live: Live, headers: readonly Header[]): void {
  const found = /^(\d{1,2})\/(\d{1,2})$/.exec(findHeader(headers, threadHeader))
  if (found === null) return
  const [thread, threads] = [Number(found[1]), Number(found[2])]
  if (thread >= threads || threads > maxThreads) return
  live.thread = thread
  live.threads = threads
}

/** Whether another session should be opened, in the hope that it leads to a thread that was not met. */
export function wantsAnother(group: Group): boolean {
  if (group.dialing > 0) return false
  const met = new Set<number>()
  let threads = 1
  let streams = 0
  for (const { session, thread, threads: all } of group.live) {
    if (session.isDraining) continue
    streams += session.openStreams
    // One that has not been heard of yet may be what is looked for.
    if (thread < 0) return false
    met.add(thread)
    threads = Math.max(threads, all)
  }
  if (met.size >= threads || group.tries >= threads * triesPerThread) return false
  return streams >= met.size * streamsPerThread
}

/** Whether a session leads where another leads already: it was a try that found nothing. */
export function isDouble(group: Group, live: Live): boolean {
  for (const other of group.live) {
    if (other !== live && other.thread === live.thread && live.threads > 1 && !other.session.isDraining) return true
  }
  return false
}

/**
 * The session that a stream goes to: of those that can take it, one to the thread that has the fewest. Sessions to the same
 * thread are filled one after the other, so that what is not needed any more falls idle.
 */
export function choose(group: Group, isUsable: (live: Live) => boolean): Live | null {
  let best: Live | null = null
  let least = Number.POSITIVE_INFINITY
  for (const live of group.live) {
    if (!isUsable(live)) continue
    const streams = streamsOn(group, live.thread)
    if (streams >= least) continue
    best = live
    least = streams
  }
  return best
}

function streamsOn(group: Group, thread: number): number {
  let streams = 0
  for (const live of group.live) if (live.thread === thread) streams += live.session.openStreams
  return streams
}
