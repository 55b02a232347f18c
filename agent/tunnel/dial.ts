// The tunnel's client side: sessions to peers for each (source account, destination account, peer), as many as the streams
// need, and streams on them. Until a stream is there nothing of a request has been sent: every failure may be retried.

import type { TLSSocket } from 'node:tls'
import type { Key } from '../../controller/contract/resources.ts'
import { joinPort } from '../address.ts'
import type { Clock, Timer } from '../clock.ts'
import { MeshError, type Reason, reasons } from '../errors.ts'
import type { Credential, Credentials } from '../identity/credentials.ts'
import type { Group, Live, Pending, TunnelTarget } from './group.ts'
import { handshake } from './handshake.ts'
import type { Header } from './hpack.ts'
import { LostPeers, type PeerPlace } from './lost.ts'
import { Mux } from './mux.ts'
import type { Answer, StartSession, TunnelWire } from './session.ts'
import { choose, isDouble, meet, wantsAnother } from './spread.ts'

export interface DialOptions {
  credentials: Credentials
  clock: Clock
  /** 0 ≤ x < 1, for jitter. */
  random: () => number
  /** For TCP, TLS, and the peer's connection to the endpoint together. */
  connectMs: number
  /** Address to connect from; the system chooses if it is absent. */
  localAddress?: string
  /** Streams on one connection, if the peer allows as many. */
  streamLimit?: number
  /** A session without streams is closed after it. */
  idleMs?: number
  /** Whether there should be an agent at a place; a lost one is looked for only as long. */
  isPeer?: (place: PeerPlace) => boolean
  startSession?: StartSession
}

export type { TunnelTarget } from './group.ts'

/** A session as the debug pages show it. */
export interface SessionFacts {
  source: Key
  destination: Key
  peer: string
  streams: number
  isDraining: boolean
}

export interface Dialer {
  /**
   * Opens a stream.
   * @param done called once, later, with the wire or a MeshError; its reason is no_identity, connect_failed, tls_failed,
   *   or what the peer refused with
   * @returns gives up: `done` is not called any more
   */
  open(target: TunnelTarget, done: (error: MeshError | null, wire: TunnelWire | null) => void): () => void
  sessions(): SessionFacts[]
  /** Peers that can't be reached just now. */
  readonly lost: LostPeers
  /** No new streams; sessions close when their streams have ended. */
  drain(): void
  /** Breaks all sessions. */
  close(): void
}

/** One connection carries so many exchanges well; more of them would share one thread of the peer, and one loss. */
const defaultStreamLimit = 256
const defaultIdleMs = 300_000
const checkMs = 250
/** Sessions that a stream may be tried on. */
const maxAttempts = 3
const firstBackoffMs = 100
const maxBackoffMs = 5_000

const isReason = (text: string): text is Reason => (reasons as string[]).includes(text)

/** Opens the client side of the tunnel for one data thread. */
export function makeDialer(options: DialOptions): Dialer {
  const { credentials, clock, connectMs } = options
  const streamLimit = options.streamLimit ?? defaultStreamLimit
  const idleMs = options.idleMs ?? defaultIdleMs
  const startSession: StartSession = options.startSession ?? ((socket, role, events) => new Mux(socket, role, events))
  const groups = new Map<string, Group>()
  const groupsOf = ({ address, port }: PeerPlace) =>
    [...groups.values()].filter(({ target }) => target.address === address && target.port === port)
  const lost = new LostPeers({
    clock,
    localAddress: options.localAddress,
    isPeer: options.isPeer ?? (() => true),
    onLost: (place) => {
      const error = new Error(`the agent at ${joinPort(place.address, place.port)} can't be reached`)
      for (const { live } of groupsOf(place)) for (const { session } of [...live]) session.destroy(error)
    },
    onFound: (place) => {
      for (const group of groupsOf(place)) {
        group.failures = 0
        group.retryAt = 0
      }
    },
  })
  let isDraining = false
  let timer: Timer | null = null

  const peerOf = ({ address, port }: TunnelTarget) => joinPort(address, port)
  // A first attempt goes out before the peer's settings are known; one that was turned away waits for them.
  const isUsable = ({ session }: Live, pending: Pending) =>
    !session.isDraining &&
    !session.isClosed &&
    session.openStreams < Math.min(streamLimit, session.streamLimit) &&
    (session.isConfirmed || pending.attempts === 0)

  function groupOf(target: TunnelTarget): Group {
    // All that decides about identity is in the key, as it stands: no hash that could collide.
    const key = `${target.source} ${target.destination} ${peerOf(target)}`
    const known = groups.get(key)
    if (known !== undefined) return known
    const group: Group = {
      key,
      target,
      live: new Set(),
      queue: new Set(),
      sockets: new Set(),
      dialing: 0,
      tries: 0,
      failures: 0,
      retryAt: 0,
      error: null,
    }
    groups.set(key, group)
    arm()
    return group
  }

  function finish(pending: Pending, error: MeshError | null, wire: TunnelWire | null): void {
    if (pending.isDone) {
      wire?.reset()
      return
    }
    pending.isDone = true
    clock.clearTimeout(pending.timer)
    pending.done(error, wire)
  }

  function place(group: Group, pending: Pending): void {
    const live = choose(group, (each) => isUsable(each, pending))
    if (live !== null) {
      start(group, live, pending)
      return
    }
    if (group.dialing === 0 && clock.now() < group.retryAt && group.error !== null) {
      const { error } = group
      process.nextTick(() => finish(pending, error, null))
      return
    }
    group.queue.add(pending)
    dialIfShort(group)
  }

  /** Opens another session if those on their way can't take all streams that wait. */
  function dialIfShort(group: Group): void {
    let coming = group.dialing
    for (const { session } of group.live) if (!session.isConfirmed && !session.isDraining) coming++
    if (group.queue.size > coming * streamLimit) dial(group)
  }

  function start(group: Group, live: Live, pending: Pending): void {
    live.idleSince = 0
    pending.attempts++
    const { authority, headers = [] } = pending.target
    pending.cancelStream = live.session.open(authority, headers, (answer) => {
      pending.cancelStream = null
      answered(group, live, pending, answer)
    })
  }

  function answered(group: Group, live: Live, pending: Pending, answer: Answer): void {
    const { authority } = pending.target
    const peer = peerOf(pending.target)
    if ('wire' in answer) {
      finish(pending, null, answer.wire)
      spread(group, live, answer.headers)
    } else if ('status' in answer) {
      const other = answer.status === 403 ? 'denied' : 'connect_failed'
      const reason = isReason(answer.reason) ? answer.reason : other
      finish(pending, new MeshError(reason, `the agent at ${peer} answered ${answer.status} for ${authority}`), null)
    } else if (!pending.isDone && answer.isUntouched && pending.attempts < maxAttempts) {
      // The peer was just ending this session, or has enough streams on it: another one will do.
      place(group, pending)
    } else {
      // What breaks before the peer's first word is its refusal of our certificate.
      const reason = live.session.isConfirmed ? 'connect_failed' : 'tls_failed'
      finish(pending, new MeshError(reason, `to ${authority} by the agent at ${peer}: ${answer.error.message}`), null)
    }
  }

  /** A stream is there: looks whether the peer's other threads should have sessions, too. */
  function spread(group: Group, live: Live, headers: readonly Header[]): void {
    const isFirst = live.thread < 0
    meet(live, headers)
    if (isFirst && isDouble(group, live)) live.session.drain()
    if (isDraining || !wantsAnother(group)) return
    group.tries++
    dial(group)
  }

  function dial(group: Group): void {
    group.dialing++
    const found = credentials.get(group.target.source)
    if (found !== null) {
      connectWith(group, found)
      return
    }
    credentials.need(group.target.source, connectMs).then(
      (credential) => connectWith(group, credential),
      (thrown: MeshError) => {
        group.dialing--
        // Waiting for our own certificate says nothing about the peer.
        failed(group, thrown, false)
      },
    )
  }

  function connectWith(group: Group, credential: Credential): void {
    const { destination, address, port } = group.target
    const { trustDomain } = credentials
    const { localAddress } = options
    const facts = { address, port, localAddress, destination, trustDomain, credential, clock, timeoutMs: connectMs }
    const socket = handshake(facts, (error, secured, expires) => {
      if (error === null) {
        begin(group, secured, expires)
      } else {
        group.dialing--
        group.sockets.delete(secured)
        if (error.reason === 'no_peer') lost.lose(group.target)
        failed(group, error, true)
      }
    })
    group.sockets.add(socket)
  }

  function begin(group: Group, socket: TLSSocket, expires: number): void {
    group.dialing--
    const session = startSession(socket, 'client', {
      onAsk: () => {},
      onChange: () => unqueue(group),
      onDraining: () => {},
      onClose(error) {
        group.live.delete(live)
        group.sockets.delete(socket)
        if (session.isConfirmed) {
          unqueue(group)
          return
        }
        const what = `the agent at ${peerOf(group.target)}: ${error?.message ?? 'closed'}`
        failed(group, new MeshError('tls_failed', what), true)
      },
    })
    const live: Live = { session, expires, idleSince: clock.now(), thread: -1, threads: 1 }
    if (group.live.size === 0) group.tries = 0
    group.live.add(live)
    if (isDraining) session.drain()
    else unqueue(group)
  }

  /** Gives waiting streams to the sessions that have room. */
  function unqueue(group: Group): void {
    for (const live of group.live) {
      if (live.session.isConfirmed) group.failures = 0
      for (const pending of group.queue) {
        if (!isUsable(live, pending)) continue
        group.queue.delete(pending)
        start(group, live, pending)
      }
    }
    dialIfShort(group)
  }

  function backOff(group: Group, error: MeshError): void {
    const backoffMs = Math.min(firstBackoffMs * 2 ** Math.min(group.failures, 10), maxBackoffMs)
    group.failures++
    group.retryAt = clock.now() + backoffMs * (0.5 + options.random() / 2)
    group.error = error
  }

  /** A session that was asked for will not come. */
  function failed(group: Group, error: MeshError, isPeers: boolean): void {
    if (isPeers) backOff(group, error)
    if (group.dialing > 0) return
    for (const pending of [...group.queue]) {
      group.queue.delete(pending)
      finish(pending, error, null)
    }
  }

  /** Looks after all sessions: silent peers, ended certificates, and those that nobody uses. */
  function check(): void {
    timer = null
    for (const group of groups.values()) {
      for (const live of group.live) checkLive(group, live)
      const isUnused = group.live.size === 0 && group.queue.size === 0 && group.dialing === 0
      if (isUnused && clock.now() >= group.retryAt) groups.delete(group.key)
    }
    arm()
  }

  function checkLive({ target }: Group, live: Live): void {
    const now = clock.now()
    if (!live.session.check(now)) lost.suspect(target)
    if (live.session.openStreams > 0) live.idleSince = 0
    else if (live.idleSince === 0) live.idleSince = now
    const isIdle = live.idleSince > 0 && now - live.idleSince >= idleMs
    if (isIdle || live.expires <= clock.wall()) live.session.drain()
  }

  function arm(): void {
    if (timer !== null || groups.size === 0) return
    timer = clock.setTimeout(check, checkMs)
    timer.unref()
  }

  function breakGroup(group: Group, error: MeshError): void {
    for (const { session } of [...group.live]) session.destroy(error)
    for (const socket of group.sockets) socket.destroy()
    for (const pending of [...group.queue]) finish(pending, error, null)
    group.queue.clear()
  }

  credentials.onForget((account) => {
    for (const group of groups.values())
      if (group.target.source === account)
        breakGroup(group, new MeshError('no_identity', `no pod of ${account} is left on this node`))
  })

  return {
    open(target, done) {
      const late = () => {
        group.queue.delete(pending)
        pending.cancelStream?.()
        const { source, authority } = target
        // The peer was not even asked: that is nothing against it.
        const isMissing = credentials.get(source) === null
        const error = isMissing
          ? new MeshError('no_identity', `no certificate for ${source} within ${connectMs} ms`)
          : new MeshError(
              group.live.size === 0 ? 'no_peer' : 'connect_failed',
              `no stream to ${authority} by the agent at ${peerOf(target)} in ${connectMs} ms`,
            )
        finish(pending, error, null)
      }
      const pending: Pending = {
        target,
        done,
        timer: clock.setTimeout(late, connectMs),
        cancelStream: null,
        attempts: 0,
        isDone: false,
      }
      const group = groupOf(target)
      if (isDraining) process.nextTick(() => finish(pending, new MeshError('draining'), null))
      else place(group, pending)
      return () => {
        if (pending.isDone) return
        pending.isDone = true
        clock.clearTimeout(pending.timer)
        group.queue.delete(pending)
        pending.cancelStream?.()
      }
    },
    sessions: () =>
      [...groups.values()].flatMap((group) =>
        [...group.live].map(({ session }) => ({
          source: group.target.source,
          destination: group.target.destination,
          peer: peerOf(group.target),
          streams: session.openStreams,
          isDraining: session.isDraining,
        })),
      ),
    lost,
    drain() {
      isDraining = true
      for (const group of groups.values()) for (const { session } of group.live) session.drain()
    },
    close() {
      isDraining = true
      for (const group of groups.values()) breakGroup(group, new MeshError('draining'))
      groups.clear()
      lost.close()
      if (timer !== null) clock.clearTimeout(timer)
    },
  }
}
