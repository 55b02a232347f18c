// Leader election on a coordination.k8s.io Lease, by client-go's rules: a lease is taken over when its record has not
// changed for its own duration by our own clock, so that clocks may differ between replicas; a leader that can't renew in
// time stops leading before another can start.

import type { Logger } from 'pino'
import type { Clock } from '../clock.ts'
import { hasStatus, messageOf } from '../errors.ts'
import { type Api, findObject, type RequestOptions } from './api.ts'

export interface ElectionOptions {
  api: Api
  clock: Clock
  log: Logger
  namespace: string
  name: string
  /** Differs from replica to replica and from start to start. */
  identity: string
  /** Others may take the lease when it was not renewed for so long. */
  leaseMs?: number
  /** A leader that could not renew for so long steps down; less than `leaseMs`. */
  renewMs?: number
  /** Between two attempts to take or renew it. */
  retryMs?: number
  /** Leadership began. */
  started(): void
  /** Leadership ended; nothing may be written any more. */
  stopped(): void
}

export interface Election {
  /** By the clock of this moment: a process that was stopped for long and goes on knows at once that it may not lead. */
  readonly isLeader: boolean
  /** Who leads, as last seen; empty if nobody does. */
  readonly leader: string
  /** Stops, and gives the lease back so that another replica takes over at once. */
  stop(): Promise<void>
}

interface LeaseSpec {
  holderIdentity?: string | null
  leaseDurationSeconds?: number | null
  /** RFC 3339 with microseconds. */
  acquireTime?: string | null
  renewTime?: string | null
  leaseTransitions?: number | null
}

interface Lease {
  apiVersion: string
  kind: string
  metadata: { name: string; namespace: string; resourceVersion?: string }
  spec?: LeaseSpec
}

/** Starts to stand for election. */
export function startElection(options: ElectionOptions): Election {
  const { api, clock, identity, namespace, name } = options
  const { leaseMs = 15_000, renewMs = 10_000, retryMs = 2000 } = options
  const log = options.log.child({ lease: `${namespace}/${name}`, identity })
  const collection = `/apis/coordination.k8s.io/v1/namespaces/${namespace}/leases`
  const stopping = new AbortController()
  let isLeader = false
  let leader = ''
  /** The record as last seen, and when it was first seen so (clock's ms). */
  let seen = ''
  let seenAt = 0
  let renewedAt = 0

  function observe(lease: Lease): void {
    const record = JSON.stringify(lease.spec ?? {})
    leader = lease.spec?.holderIdentity ?? ''
    if (record === seen) return
    seen = record
    seenAt = clock.now()
  }

  function record(previous: LeaseSpec): LeaseSpec {
    const time = microTime(clock.wall())
    const isMine = previous.holderIdentity === identity
    return {
      holderIdentity: identity,
      leaseDurationSeconds: Math.ceil(leaseMs / 1000),
      acquireTime: isMine ? (previous.acquireTime ?? time) : time,
      renewTime: time,
      leaseTransitions: (previous.leaseTransitions ?? 0) + (isMine || previous.holderIdentity === undefined ? 0 : 1),
    }
  }

  function read(limits: RequestOptions): Promise<Lease | null> {
    return findObject<Lease>(api, `${collection}/${name}`, limits)
  }

  /** One attempt. @returns whether the lease is ours now */
  async function attempt(): Promise<boolean> {
    const limits = { timeoutMs: renewMs / 2, signal: stopping.signal }
    const lease = await read(limits)
    const askedAt = clock.now()
    if (lease === null) {
      const body: Lease = {
        apiVersion: 'coordination.k8s.io/v1',
        kind: 'Lease',
        metadata: { name, namespace },
        spec: record({}),
      }
      observe(await api.request<Lease>('POST', collection, { body, ...limits }))
      renewedAt = askedAt
      return true
    }
    observe(lease)
    const spec = lease.spec ?? {}
    if (leader !== '' && leader !== identity && clock.now() < seenAt + durationMs(spec)) return false
    // The resourceVersion that was read goes with it: of two that try at once, one gets a 409.
    const body: Lease = { ...lease, spec: record(spec) }
    observe(await api.request<Lease>('PUT', `${collection}/${name}`, { body, ...limits }))
    renewedAt = askedAt
    return true
  }

  function durationMs(spec: LeaseSpec): number {
    return spec.leaseDurationSeconds == null ? leaseMs : spec.leaseDurationSeconds * 1000
  }

  function become(next: boolean): void {
    if (next === isLeader) return
    isLeader = next
    log.info(next ? 'leading' : 'no longer leading')
    try {
      if (next) options.started()
      else options.stopped()
    } catch (thrown) {
      log.error({ error: thrown }, 'handling a change of leadership failed')
    }
  }

  async function run(): Promise<void> {
    while (!stopping.signal.aborted) {
      const hasIt = await attempt().catch((thrown) => {
        if (stopping.signal.aborted) return null
        // A conflict only says that another replica was faster; the next attempt sees its record.
        if (!hasStatus(thrown, 409)) log.warn({ error: messageOf(thrown) }, 'taking or renewing the lease failed')
        return null
      })
      if (stopping.signal.aborted) return
      if (hasIt !== null) become(hasIt)
      await clock.sleep(isLeader ? retryMs : retryMs * (1 + 0.2 * clock.random()), stopping.signal)
    }
  }

  /** Ends leadership in time even while a request hangs. */
  async function guard(): Promise<void> {
    while (!stopping.signal.aborted) {
      const leftMs = renewedAt + renewMs - clock.now()
      if (isLeader && leftMs <= 0) {
        log.error({ renewMs }, 'the lease could not be renewed in time')
        become(false)
      }
      await clock.sleep(isLeader ? leftMs : retryMs / 2, stopping.signal)
    }
  }

  async function release(): Promise<void> {
    try {
      const lease = await read({ timeoutMs: 2000 })
      if (lease?.spec?.holderIdentity !== identity) return
      const time = microTime(clock.wall())
      const spec = { ...lease.spec, holderIdentity: '', leaseDurationSeconds: 1, renewTime: time, acquireTime: time }
      await api.request('PUT', `${collection}/${name}`, { body: { ...lease, spec }, timeoutMs: 2000 })
      log.info('lease given back')
    } catch (thrown) {
      log.warn({ error: messageOf(thrown) }, 'giving the lease back failed; it runs out by itself')
    }
  }

  const done = Promise.all([run(), guard()])

  return {
    get isLeader() {
      return isLeader && clock.now() < renewedAt + renewMs
    },
    get leader() {
      return leader
    },
    async stop() {
      stopping.abort()
      become(false)
      await done
      await release()
    },
  }
}

/** Kubernetes' MicroTime. */
function microTime(wall: number): string {
  return new Date(wall).toISOString().replace(/Z$/, '000Z')
}
