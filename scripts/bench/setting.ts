// What a case demands of a proxy, and what a proxy gives back: the seam between cases and peers.

import type { Child } from './process.ts'

/** Everything a proxy needs to know to be started for a case. */
export interface Setting {
  /** A folder of its own for configuration, logs and pid files. */
  readonly directory: string
  readonly origin: Target
  /** Number of services; service i is asked for by the Host `hostOf(i)`. All lead to the origin. */
  readonly services: number
  /** With an access log to a file and a request id or trace header for each request. */
  readonly observed: boolean
  /** Threads that proxy. */
  readonly threads: number
  /** Cores for the proxy, as taskset takes them. */
  readonly cores: string
}

export interface Target {
  readonly address: string
  readonly port: number
}

/** A proxy that runs: where the load goes, and whose CPU time and memory count. */
export interface Running extends Target {
  readonly children: readonly Child[]
  stop(): Promise<void>
}

export interface Contender {
  readonly name: string
  /** Its version, or null with the reason in `missing` where it can't be run here. */
  find(): { version: string } | { missing: string }
  start(setting: Setting): Promise<Running>
  /** Two of them with mutual TLS 1.3 between, the load on one, the origin behind the other; not all can. */
  startPair?(setting: Setting): Promise<Running>
}

/** The Host by which service number `index` is asked for; the mesh's own naming, so that all proxies see the same bytes. */
export function hostOf(index: number): string {
  return `s${index}-mesh.bench`
}
