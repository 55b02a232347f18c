// Tells the controller what the owners of callers should learn of, so that it becomes an Event on their pods: bounded, and
// each thing no more often than every few minutes. A data thread posts, the control thread reports.

import type { CallerNotice } from '../../controller/contract/messages.ts'
import type { Clock } from '../clock.ts'
import type { Post } from '../mesh/thread.ts'

/** What goes on is told again after this. */
const repeatMs = 10 * 60_000
/** What was not told again is over after this. Reports go to one replica of the controller or another: several get it. */
const keptMs = 3 * repeatMs
/** Of one agent; noticesLimit of the controller is as large. */
const most = 16

function keyOf({ kind, podUid, port, service }: CallerNotice): string {
  return `${kind} ${podUid} ${port} ${service}`
}

/** Data thread: posts what is new or goes on. */
export class NoticePoster {
  readonly #post: Post
  readonly #clock: Clock
  /** Clock's ms at which each was posted. */
  readonly #posted = new Map<string, number>()

  constructor(post: Post, clock: Clock) {
    this.#post = post
    this.#clock = clock
  }

  tell(notice: CallerNotice): void {
    const now = this.#clock.now()
    const key = keyOf(notice)
    const at = this.#posted.get(key)
    if (at !== undefined && now - at < repeatMs) return
    if (at === undefined && !this.#makeRoom(now)) return
    this.#posted.set(key, now)
    this.#post({ type: 'noticed', notice })
  }

  #makeRoom(now: number): boolean {
    if (this.#posted.size < most) return true
    for (const [key, at] of this.#posted) if (now - at >= repeatMs) this.#posted.delete(key)
    return this.#posted.size < most
  }
}

/** Control thread: what all data threads have noticed of late. */
export class NoticeBoard {
  readonly #clock: Clock
  readonly #notices = new Map<string, { notice: CallerNotice; at: number }>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** @returns whether there is something to report that was not known */
  add(notice: CallerNotice): boolean {
    const key = keyOf(notice)
    const isNew = !this.#notices.has(key)
    if (isNew && this.current().length >= most) return false
    this.#notices.set(key, { notice, at: this.#clock.now() })
    return isNew
  }

  /** What a report says. */
  current(): CallerNotice[] {
    const now = this.#clock.now()
    for (const [key, { at }] of this.#notices) if (now - at > keptMs) this.#notices.delete(key)
    return Array.from(this.#notices.values(), ({ notice }) => notice)
  }
}
