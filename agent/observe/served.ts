// Data thread: what the pods of this node answered, by the workload that they belong to, whichever Service led there. It is
// the view of the server's side, which other meshes publish and which tools for canaries ask about (borrowed.ts). What the
// mesh itself refused or lost says nothing about the workload, and is left out.

import { reasonFacts } from '../errors.ts'
import type { Exchange } from '../exchange.ts'
import type { Endpoint } from '../mesh/endpoint.ts'
import type { Counters } from './counters.ts'
import { bucketOf, served } from './series.ts'

export class ServedRecorder {
  readonly #counters: Counters
  readonly #isPlain: (endpoint: Endpoint) => boolean
  /** Attempts that were counted before their exchange ended; few ever are tried again. */
  readonly #tried = new WeakMap<Exchange, number>()

  /** @param isPlain whether an endpoint is reached without another agent, which would count it */
  constructor(counters: Counters, isPlain: (endpoint: Endpoint) => boolean) {
    this.#counters = counters
    this.#isPlain = isPlain
  }

  /** Counts the last attempt of an exchange that has ended, after `durationMs`. */
  record(exchange: Exchange, durationMs: number): void {
    const { attempts, direction } = exchange
    // No further attempt was made after one that is counted: its failure became the exchange's.
    if (direction === 'outbound' && attempts === (this.#tried.get(exchange) ?? 0)) return
    this.#count(exchange, statusOf(exchange), durationMs)
  }

  /**
   * Counts an attempt that is followed by another.
   * @param reason what it failed with: a reason, or the status that the endpoint answered with
   * @param now clock's ms
   */
  retried(exchange: Exchange, reason: string, now: number): void {
    this.#tried.set(exchange, exchange.attempts)
    const status = Number(reason) || upstreamStatus(reason as NonNullable<Exchange['reason']>)
    this.#count(exchange, status, now - exchange.startedAt)
  }

  recordTwice(): void {}

  #count({ request, endpoint, direction, backend }: Exchange, status: number, durationMs: number): void {
    if (request === null || endpoint === null || status === 0 || endpoint.spec.pod === '') return
    const isHere = direction === 'inbound' || endpoint.isLocal || this.#isPlain(endpoint)
    if (!isHere) return
    const { pod, workload } = endpoint.spec
    const slash = pod.indexOf('/')
    // A pod that nothing controls is its own workload.
    const labels = [pod.slice(0, slash), workload || pod.slice(slash + 1)]
    const service = backend?.service ?? ''
    this.#counters.count('answered', service, [...labels, String(status)])
    const { slots, first } = this.#counters.cell('served', service, labels)
    slots[first + served.buckets + bucketOf(durationMs)]! += 1
    slots[first + served.sumMs]! += durationMs
  }
}

/** The status that the workload is answerable for; 0: none. */
function statusOf({ reason, status }: Exchange): number {
  if (reason === null) return status
  // It had begun to answer when its caller left.
  if (reason === 'caller_gone') return status === reasonFacts(reason).status ? 0 : status
  return upstreamStatus(reason)
}

function upstreamStatus(reason: NonNullable<Exchange['reason']>): number {
  const { blame, status } = reasonFacts(reason)
  return blame === 'upstream' ? status : 0
}
