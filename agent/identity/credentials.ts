// The certificates as a data thread has them: TLS contexts by account and by server name, built once for each renewal. What
// is not there is asked for at the control thread, and waited for within bounds.

import type { KeyObject } from 'node:crypto'
import type { SecureContext } from 'node:tls'
import { formatIdentity } from '../../controller/contract/identity.ts'
import type { Key } from '../../controller/contract/resources.ts'
import type { Clock } from '../clock.ts'
import { MeshError } from '../errors.ts'
import { identityContext } from './key.ts'
import type { IdentityMessage } from './messages.ts'
import { sniLabel } from './sni.ts'

/** A certificate in use; a renewal makes a new one. */
export interface Credential {
  readonly account: Key
  readonly context: SecureContext
  /** Milliseconds since the epoch. */
  readonly expires: number
}

export interface Credentials {
  /** Empty before the first bundle has come. */
  readonly trustDomain: string
  /** @returns null if there is none, or none that is valid now */
  get(account: Key): Credential | null
  /** The credential that a server name asks for, compared after lower-casing; null: answer with an alert. */
  bySni(name: string): Credential | null
  /**
   * The credential for an account, asked for if need be.
   * @throws MeshError no_identity if none comes within `waitMs`, or too many wait already
   */
  need(account: Key, waitMs: number): Promise<Credential>
  /** Takes a message of the control thread. */
  accept(message: IdentityMessage): void
  /** Called with an account that is forgotten: its connections must end. */
  onForget(listener: (account: Key) => void): void
}

interface Held {
  key: KeyObject
  chain: string
  label: string
  credential: Credential
}

interface Waiter {
  resolve: (credential: Credential) => void
  reject: (error: MeshError) => void
}

/** Callers that may wait for certificates at once, all accounts together. */
const maxWaiting = 1_000

/** @param ask tells the control thread that a certificate for an account is needed now */
export function makeCredentials(clock: Clock, ask: (account: Key) => void): Credentials {
  const held = new Map<Key, Held>()
  const labels = new Map<string, Key>()
  const waiting = new Map<Key, Set<Waiter>>()
  const listeners: ((account: Key) => void)[] = []
  let bundle = ''
  let trustDomain = ''
  let waiters = 0

  function get(account: Key): Credential | null {
    const credential = held.get(account)?.credential
    return credential !== undefined && credential.expires > clock.wall() ? credential : null
  }

  function put(account: Key, key: KeyObject, chain: string, expires: number): void {
    const label = sniLabel(formatIdentity(trustDomain, account))
    const credential = { account, expires, context: identityContext(key, chain, bundle) }
    held.set(account, { key, chain, label, credential })
    labels.set(label, account)
    const waited = waiting.get(account)
    waiting.delete(account)
    for (const { resolve } of waited ?? []) resolve(credential)
  }

  function forget(account: Key): void {
    const known = held.get(account)
    if (known === undefined) return
    held.delete(account)
    labels.delete(known.label)
    for (const listener of listeners) listener(account)
  }

  function wait(account: Key, waitMs: number): Promise<Credential> {
    return new Promise((resolve, reject) => {
      const set = waiting.get(account) ?? new Set()
      waiting.set(account, set)
      const end = () => {
        clock.clearTimeout(timer)
        set.delete(waiter)
        if (set.size === 0 && waiting.get(account) === set) waiting.delete(account)
        waiters--
      }
      const waiter: Waiter = {
        resolve(credential) {
          end()
          resolve(credential)
        },
        reject(error) {
          end()
          reject(error)
        },
      }
      const late = new MeshError('no_identity', `no certificate for ${account} within ${waitMs} ms`)
      const timer = clock.setTimeout(() => waiter.reject(late), waitMs)
      set.add(waiter)
      waiters++
    })
  }

  return {
    get trustDomain() {
      return trustDomain
    },
    get,
    bySni(name) {
      const account = labels.get(name.toLowerCase())
      return account === undefined ? null : get(account)
    },
    async need(account, waitMs) {
      const found = get(account)
      if (found !== null) return found
      ask(account)
      if (waiters >= maxWaiting)
        throw new MeshError('no_identity', `${maxWaiting} callers wait for certificates already`)
      return wait(account, waitMs)
    },
    accept(message) {
      switch (message.type) {
        case 'trust':
          bundle = message.bundle
          trustDomain = message.trustDomain
          // Contexts carry the bundle: new connections are judged by the new one, those that stand go on.
          for (const [account, { key, chain, credential }] of held) put(account, key, chain, credential.expires)
          break
        case 'certificate':
          put(message.account, message.key, message.chain, message.expires)
          break
        case 'forget':
          forget(message.account)
      }
    },
    onForget: (listener) => listeners.push(listener),
  }
}
