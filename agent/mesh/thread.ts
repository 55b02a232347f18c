// What the control thread and a data thread say to each other. A snapshot changes in two phases: every thread prepares
// the same change, then all commit it, or none does. Counters go the other way through shared memory; only the labels of
// their slots are messages.

import type { CallerNotice } from '../../controller/contract/messages.ts'
import type { AgentConfig, LogLevel } from '../config.ts'
import type { IdentityMessage, IdentityNeed } from '../identity/messages.ts'

/** workerData of a data thread. */
export interface ThreadStart {
  config: AgentConfig
  /** 0 … threads − 1; a thread that takes a dead one's place has its number. */
  thread: number
  threads: number
  /** Counters of the limits, shared by all threads (limits/shared.ts). */
  limits: SharedArrayBuffer
}

/**
 * Build the next snapshot from the one in force. Answered by `prepared` or `refused`; changes nothing else.
 * `change` is NDJSON of contract messages, `set` and `remove` only, already validated, relative to what is in force on
 * this thread; its memory is shared by all threads and must not be written.
 */
export interface Prepare {
  type: 'prepare'
  version: string
  change: Uint8Array
}

/** The prepared snapshot takes force now. Answered by `committed`, and by `listening` when its ports have settled. */
export interface Commit {
  type: 'commit'
  version: string
}

/** Drop what was prepared: another thread refused it. Not answered. */
export interface Abort {
  type: 'abort'
  version: string
}

/**
 * The way out, in three steps: `drain`: responses say `Connection: close`, listeners stay open; `close`: all listeners
 * close, answered by `drained` when the last exchange has settled; `end`: what is still open is reset, then `drained`.
 */
export interface Leave {
  type: 'drain' | 'close' | 'end'
}

/** Answered by `heartbeat` with the same number. */
export interface Beat {
  type: 'beat'
  number: number
}

export interface SetLevel {
  type: 'level'
  level: LogLevel
}

/** May this caller do that there? (observe/explain.ts) */
export interface PermitQuestion {
  /** The caller's account, or the address of a pod of this node; empty: no identity. */
  source: string
  /** The account of the pod, or the address of an endpoint. */
  destination: string
  /** The pod's port. */
  port: number
  /** null: an opaque connection. */
  request: { method: string; path: string; headers: [name: string, value: string][] } | null
}

/** What the debug endpoints ask of a thread. */
export type Question = 'fuses' | 'exchanges' | 'pools' | { permit: PermitQuestion }

/** Answered by `answer` with the same id. */
export interface Ask {
  type: 'ask'
  id: number
  what: Question
}

/** Trust and certificates, in the order in which they came to be; a thread that starts gets all that is known. */
export interface Identify {
  type: 'identity'
  message: IdentityMessage
}

export type ToThread = Identify | Prepare | Commit | Abort | Leave | Beat | SetLevel | Ask

/** First message of a thread: it can be told a snapshot. */
export interface Started {
  type: 'started'
}

export interface Prepared {
  type: 'prepared' | 'committed'
  version: string
}

/** The change can't be used; nothing of it has been. */
export interface Refused {
  type: 'refused'
  version: string
  message: string
}

/** Where the listeners stand after a commit: sent for each, also if nothing changed. */
export interface Listening {
  type: 'listening'
  /** The snapshot whose ports these are. */
  version: string
  /** How many ports are open on this thread. */
  open: number
  /** Those that could not be opened, with the system's reason. */
  failed: { port: number; message: string }[]
}

export interface Heartbeat {
  type: 'heartbeat'
  number: number
  /** Connections of callers accepted since the thread started: tells when it has become quiet. */
  accepted: number
  /** Connections of callers that are open. */
  open: number
}

export interface Drained {
  type: 'drained'
}

export interface Answer {
  type: 'answer'
  id: number
  /** Plain data, fit for JSON. */
  value: unknown
}

/** A new stretch of counters: Float64 slots that only this thread writes. Stretches are numbered 0, 1, … */
export interface Slots {
  type: 'slots'
  buffer: SharedArrayBuffer
}

/** What kind of counters lie at a place (observe/series.ts has the layouts), and their labels in the kind's order. */
export interface SeriesPlace {
  kind: string
  stretch: number
  first: number
  labels: string[]
}

/** New series, and places that are free again (their counters are zero by then). */
export interface SeriesChange {
  type: 'series'
  added: SeriesPlace[]
  freed: { stretch: number; first: number }[]
}

/** Lines of the access log, each with its line feed. */
export interface AccessLines {
  type: 'lines'
  text: string
}

/** A log record of a thread, written by the control thread. */
export interface LogRecord {
  type: 'log'
  level: LogLevel
  message: string
  fields: Record<string, unknown>
}

/** A caller does what can't work: its owner should learn of it. */
export interface Noticed {
  type: 'noticed'
  notice: CallerNotice
}

export type FromThread =
  | Started
  | Prepared
  | Refused
  | Listening
  | Heartbeat
  | Drained
  | Answer
  | IdentityNeed
  | Slots
  | SeriesChange
  | AccessLines
  | Noticed
  | LogRecord

/** How a thread's parts speak to the control thread. */
export type Post = (message: FromThread) => void
