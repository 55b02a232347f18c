// Keeps the certificates of a node's accounts, on the control thread: asks ahead of time or when a caller comes, renews at
// half of the lifetime, keeps what it has until it expires, and forgets an account when its last pod has left the node.

import { type KeyObject, X509Certificate } from 'node:crypto'
import { certificateIdentity } from '../../controller/contract/certificate.ts'
import { formatIdentity, type SignResponse } from '../../controller/contract/identity.ts'
import type { Key } from '../../controller/contract/resources.ts'
import type { Clock, Timer } from '../clock.ts'
import type { Sign } from './controller.ts'
import { makeKey } from './key.ts'
import type { IdentityMessage } from './messages.ts'
import { makeRequest } from './request.ts'
import { makeTrust, type Trust } from './trust.ts'

/** Now: a caller waits. Soon: before anybody calls. */
export type Priority = 'now' | 'soon'

export interface KeeperOptions {
  trust: Trust
  /** The agent's own account, which is never forgotten. */
  own: Key
  sign: Sign
  clock: Clock
  /** 0 ≤ x < 1, for jitter. */
  random: () => number
  /** Hands a message to every data thread. */
  publish: (message: IdentityMessage) => void
  /** Called when what `trustHash` or `signers` give has changed: the controller wants to be told. */
  changed: () => void
  log: (level: 'info' | 'warn', fields: Record<string, unknown>, message: string) => void
}

/** One account's state, for the debug pages: no key in it. */
export interface KeptIdentity {
  account: Key
  /** Milliseconds since the epoch; 0: there is no certificate. */
  expires: number
  renewAt: number
  failures: number
  /** Why the last request failed; empty if it did not. */
  problem: string
}

export interface Keeper {
  /** Wants a certificate for an account; nothing happens if there is one or it is being asked for. */
  want(account: Key, priority: Priority): void
  /** The authority can be reached again: whatever failed is asked for at once, not when its pause is over. */
  retry(): void
  /** The accounts of the node's pods: all others are forgotten. */
  retain(accounts: ReadonlySet<Key>): void
  /** Takes what the mounted ConfigMap says from now on. */
  setTrust(trust: Trust): void
  trust(): Trust
  /** All that a data thread which has just started must know. */
  replay(post: (message: IdentityMessage) => void): void
  /** The roots that signed the certificates in use. */
  signers(): string[]
  list(): KeptIdentity[]
  /** Resolves once there is a certificate for the account; never rejects. */
  whenReady(account: Key): Promise<void>
  stop(): void
}

interface Entry {
  readonly account: Key
  priority: Priority
  isAsking: boolean
  isForgotten: boolean
  /** When to ask next, ms since the epoch. */
  dueAt: number
  failures: number
  problem: string
  key: KeyObject | null
  chain: string
  expires: number
  signer: string
  ready: (() => void)[]
}

const maxAsking = 8
const firstBackoffMs = 500
const maxBackoffMs = 150_000
/** A change of the signing root is followed within this time, spread so that the authority isn't asked for all at once. */
const followRootMs = 60_000
/** Timers are 32 bits of milliseconds; looking once more costs nothing. */
const maxTimerMs = 3_600_000

/** Starts keeping; the agent's own certificate is asked for at once. */
export function startKeeper(options: KeeperOptions): Keeper {
  const { own, clock, random, publish, log } = options
  const entries = new Map<Key, Entry>()
  let trust = options.trust
  let timer: Timer | null = null
  let asking = 0
  let isStopped = false

  function enter(account: Key, priority: Priority): Entry {
    const entry: Entry = {
      account,
      priority,
      isAsking: false,
      isForgotten: false,
      dueAt: clock.wall(),
      failures: 0,
      problem: '',
      key: null,
      chain: '',
      expires: 0,
      signer: '',
      ready: [],
    }
    entries.set(account, entry)
    return entry
  }

  /** Asks for what is due, what somebody waits for first, and sets the timer for the rest. */
  function pump(): void {
    if (timer !== null) clock.clearTimeout(timer)
    timer = null
    if (isStopped) return
    const now = clock.wall()
    dropExpired(now)
    const idle = [...entries.values()].filter((entry) => !entry.isAsking)
    const due = idle.filter((entry) => entry.dueAt <= now)
    const urgency = (entry: Entry) => (entry.key === null && entry.priority === 'now' ? 0 : 1)
    due.sort((a, b) => urgency(a) - urgency(b) || a.dueAt - b.dueAt)
    for (const entry of due) {
      if (asking >= maxAsking) break
      void ask(entry)
    }
    const later = idle.flatMap((entry) => [entry.dueAt, entry.expires]).filter((at) => at > now)
    if (later.length === 0) return
    timer = clock.setTimeout(pump, Math.min(Math.min(...later) - now, maxTimerMs))
    timer.unref()
  }

  function dropExpired(now: number): void {
    for (const entry of entries.values()) {
      if (entry.key === null || entry.expires > now) continue
      log('warn', { account: entry.account, problem: entry.problem }, 'the certificate has expired')
      // Data threads see the date themselves, and drain what stands.
      clear(entry)
    }
  }

  function clear(entry: Entry): void {
    if (entry.key === null) return
    entry.key = null
    entry.chain = ''
    entry.expires = 0
    entry.signer = ''
    options.changed()
  }

  async function ask(entry: Entry): Promise<void> {
    entry.isAsking = true
    asking++
    const keys = makeKey()
    const identity = formatIdentity(trust.trustDomain, entry.account)
    try {
      const response = await options.sign(identity, makeRequest(keys))
      // Forgotten meanwhile: the key goes, nobody has seen it.
      if (!entry.isForgotten && !isStopped) accept(entry, keys.privateKey, response)
    } catch (thrown) {
      fail(entry, thrown)
    } finally {
      entry.isAsking = false
      asking--
      pump()
    }
  }

  function accept(entry: Entry, key: KeyObject, response: SignResponse): void {
    const leaf = new X509Certificate(response.chain[0] ?? '')
    const { account } = certificateIdentity(leaf.raw, trust.trustDomain)
    if (account !== entry.account) throw new Error(`the authority answered with a certificate of ${account}`)
    if (!leaf.checkPrivateKey(key)) throw new Error('the authority answered with a certificate of another key')
    const now = clock.wall()
    const lifetimeMs = response.expires - now
    if (lifetimeMs <= 0)
      throw new Error('the authority answered with a certificate that has expired; compare the clocks')
    // A root that the mounted ConfigMap does not show yet: peers may have certificates of it already.
    adoptTrust(makeTrust(response.bundle, trust.controller, response.signer))
    entry.key = key
    entry.chain = response.chain.join('')
    entry.expires = response.expires
    entry.signer = response.signer
    entry.failures = 0
    entry.problem = ''
    // Half of the lifetime, a twentieth of it earlier or later.
    entry.dueAt = now + lifetimeMs * (0.45 + random() * 0.1)
    publish({ type: 'certificate', account, key, chain: entry.chain, expires: entry.expires })
    log('info', { account, expires: new Date(entry.expires).toISOString() }, 'certificate received')
    for (const resolve of entry.ready.splice(0)) resolve()
    options.changed()
  }

  function fail(entry: Entry, thrown: unknown): void {
    const backoffMs = Math.min(firstBackoffMs * 2 ** Math.min(entry.failures, 20), maxBackoffMs)
    entry.failures++
    entry.problem = thrown instanceof Error ? thrown.message : String(thrown)
    entry.dueAt = clock.wall() + backoffMs * (0.8 + random() * 0.4)
    log('warn', { account: entry.account, problem: entry.problem, failures: entry.failures }, 'no certificate')
  }

  function adoptTrust(next: Trust): void {
    const isRotated = next.signer !== '' && next.signer !== trust.signer
    const isChanged = next.hash !== trust.hash
    trust = next
    if (isChanged) publish({ type: 'trust', bundle: trust.bundle, trustDomain: trust.trustDomain })
    if (isRotated) followRoot()
    if (isChanged) options.changed()
  }

  /** Certificates of another root than the one that signs now are renewed soon, so that it can be retired. */
  function followRoot(): void {
    const now = clock.wall()
    for (const entry of entries.values()) {
      if (entry.key !== null && entry.signer !== trust.signer)
        entry.dueAt = Math.min(entry.dueAt, now + random() * followRootMs)
    }
  }

  publish({ type: 'trust', bundle: trust.bundle, trustDomain: trust.trustDomain })
  enter(own, 'now')
  pump()

  return {
    want(account, priority) {
      const entry = entries.get(account) ?? enter(account, priority)
      if (priority === 'now') entry.priority = 'now'
      if (entry.key === null) pump()
    },
    retry() {
      for (const entry of entries.values()) {
        if (entry.failures === 0) continue
        entry.failures = 0
        entry.dueAt = clock.wall()
      }
      pump()
    },
    retain(accounts) {
      for (const [account, entry] of entries) {
        if (account === own || accounts.has(account)) continue
        entries.delete(account)
        entry.isForgotten = true
        publish({ type: 'forget', account })
        clear(entry)
      }
    },
    setTrust(next) {
      adoptTrust(next)
      pump()
    },
    trust: () => trust,
    replay(post) {
      post({ type: 'trust', bundle: trust.bundle, trustDomain: trust.trustDomain })
      for (const { account, key, chain, expires } of entries.values())
        if (key !== null) post({ type: 'certificate', account, key, chain, expires })
    },
    signers() {
      const used = [...entries.values()].filter((entry) => entry.key !== null).map((entry) => entry.signer)
      return [...new Set(used)].sort()
    },
    list: () =>
      [...entries.values()].map(({ account, expires, dueAt, failures, problem }) => ({
        account,
        expires,
        renewAt: dueAt,
        failures,
        problem,
      })),
    whenReady(account) {
      const entry = entries.get(account) ?? enter(account, 'now')
      if (entry.key !== null) return Promise.resolve()
      return new Promise((resolve) => {
        entry.ready.push(resolve)
        pump()
      })
    },
    stop() {
      isStopped = true
      if (timer !== null) clock.clearTimeout(timer)
      timer = null
    },
  }
}
