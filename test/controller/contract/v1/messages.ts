// Recorded: the messages of contract version 1. Never changed.

import type { Key, Resource, ResourceKind } from './resources.ts'

/** First line of every response: who speaks, and in which version of the contract. */
export interface Hello {
  type: 'hello'
  contract: number
  /** The controller replica, for logs. */
  controller: string
}

/** Opens a transaction. `full`: what is not set by it is to be forgotten. */
export interface Begin {
  type: 'begin'
  version: string
  full: boolean
}

export interface Set {
  type: 'set'
  resource: Resource
}

export interface Remove {
  type: 'remove'
  kind: ResourceKind
  name: string
}

/** Closes a transaction; `count` is the number of `set` and `remove` lines since `begin`, so that a gap is noticed. */
export interface Commit {
  type: 'commit'
  version: string
  count: number
}

/** Sent when nothing else was for 10 s; an agent that hears nothing for 30 s reconnects. */
export interface Ping {
  type: 'ping'
}

export type Message = Hello | Begin | Set | Remove | Commit | Ping

/** What an agent asks with: `GET /v1/snapshot?node=…&pod=…&oldest=…&newest=…`, its own pod's token as bearer. */
export interface SnapshotQuery {
  node: string
  /** Name of the agent's pod. */
  pod: string
  /** The range of contract versions that the agent understands. */
  oldest: number
  newest: number
}

/** What a caller does that can't work, and that its owner should learn of: it becomes an Event. */
export interface CallerNotice {
  /** TLS where HTTP is spoken; HTTP/2 where requests must be read to know which Service is meant. */
  kind: 'tls-on-http' | 'h2-on-shared'
  /** The caller's pod and its UID. */
  pod: Key
  podUid: string
  /** The Service's port number; 0: the entry port. */
  port: number
  /** The Service that has the port to itself; empty where the Host would have said which is meant. */
  service: Key
}

/** What an agent reports after each transaction, accepted or refused: `POST /v1/report`. */
export interface Report {
  node: string
  pod: string
  /** The version that is now in force; empty if none. */
  version: string
  /** Why the last transaction was refused; null if it was applied. */
  error: { version: string; message: string } | null
  /** Hash of the trust bundle in force on all its threads (pem.ts); absent while it has none. */
  trust?: string
  /** The roots that signed the certificates it uses; a root is not retired before no agent names it. */
  signers?: string[]
  /** What its callers did of late; absent where there is nothing to say. */
  notices?: CallerNotice[]
}
