// The authority of one controller replica: follows the root's state, signs for agents, and, where it is the leader, moves
// a rotation on. What it decides with is pure and stands in the files beside this one.

import type { KeyObject } from 'node:crypto'
import type { Logger } from 'pino'
import type { Clock } from '../clock.ts'
import { controllerAccount, formatIdentity, type SignResponse } from '../contract/identity.ts'
import type { Report } from '../contract/messages.ts'
import { messageOf } from '../errors.ts'
import { maxRequestBytes, RequestError, readRequest } from './csr.ts'
import { type Issued, issueCertificate, issueServerCertificate } from './issue.ts'
import {
  mergeAcknowledged,
  publishTrust,
  readWanted,
  readWorking,
  replaceRoot,
  shareAcknowledged,
  type WantedRoot,
  workingSecret,
} from './keep.ts'
import type { PodFacts, PodIndex } from './pods.ts'
import { rememberReviews } from './remember.ts'
import { Refusal, type ReviewRules, reviewAgent, reviewIdentity, type TokenReviewer } from './review.ts'
import { RootError } from './root.ts'
import {
  type Acknowledgement,
  nextWorking,
  type RotationFacts,
  type RotationStatus,
  storeWorking,
  trustOf,
  type Working,
  waitingFor,
} from './rotate.ts'
import { statusOf } from './status.ts'
import type { Store } from './store.ts'

export interface AuthorityOptions {
  /** The mesh's own namespace. */
  namespace: string
  trustDomain: string
  /** Name of this replica, under which it shares acknowledgements. */
  replica: string
  store: Store
  review: TokenReviewer
  pods: PodIndex
  /** Lifetime of certificates. */
  lifetimeMs: number
  isLeader: () => boolean
  clock: Clock
  log: Pick<Logger, 'info' | 'warn' | 'error'>
}

/** A certificate with what goes out after it, PEM, and its end in ms since the epoch. */
export interface Signed {
  chain: string[]
  expires: number
}

export interface Authority {
  /** The controller's own SPIFFE ID. */
  readonly identity: string
  /** The published bundle, PEM. */
  trust(): string
  /** Which root signs: SHA-256 of its certificate. */
  signer(): string
  /** Signs for the controller itself. */
  signOwn(publicKey: KeyObject): Signed
  /** Signs for a server of the controller that callers outside of the mesh know by these DNS names. */
  signServer(publicKey: KeyObject, names: readonly string[]): Signed
  /**
   * Signs for an agent.
   * @param authorization its Authorization header
   * @param body the parsed body of its request
   * @throws Refusal; anything else means that it can't be decided now
   */
  sign(authorization: string | undefined, body: unknown): Promise<SignResponse>
  /** The pod of the agent that an Authorization header belongs to; throws as `sign`. */
  agent(authorization: string | undefined): Promise<PodFacts>
  /** Takes note of what an agent says of its bundle and certificates. */
  acknowledge(report: Report): void
  status(): RotationStatus
  /** Puts a new root in place of the mesh's own one, which then rotates; throws RootError if the root was given. */
  rotate(): Promise<void>
  /** Called after each change of the root that signs, or of the bundle. */
  onChange(listener: () => void): void
  /** Reads the state again and does what is due; `run` calls it every 10 s. */
  tick(): Promise<void>
  run(signal: AbortSignal): Promise<void>
}

const tickMs = 10_000
/** An own root is followed by a new one when this part of its lifetime is left. */
const rootRenewFraction = 0.2

function readSignRequest(body: unknown): { identity: string; csr: Buffer } {
  const { identity, csr } = (typeof body === 'object' && body !== null ? body : {}) as Record<string, unknown>
  if (typeof identity !== 'string' || typeof csr !== 'string')
    throw new Refusal('invalid_request', 'the body is not {identity, csr}')
  if (csr.length > maxRequestBytes * 2) throw new Refusal('invalid_request', 'the request is too large')
  return { identity, csr: Buffer.from(csr, 'base64') }
}

function readKey(csr: Buffer): KeyObject {
  try {
    return readRequest(csr)
  } catch (thrown) {
    if (thrown instanceof RequestError) throw new Refusal('invalid_request', thrown.message)
    throw thrown
  }
}

/**
 * Opens the authority: reads its state, or makes it at the very first start.
 * @throws RootError if the root can't be used; ApiError if the API server can't be asked
 */
export async function openAuthority(options: AuthorityOptions): Promise<Authority> {
  const { namespace, trustDomain, store, pods, clock, log } = options
  const identity = formatIdentity(trustDomain, `${namespace}/${controllerAccount}`)
  const rules: ReviewRules = { namespace, trustDomain, pods, review: rememberReviews(options.review, clock) }
  const own = new Map<string, Acknowledgement>()
  const listeners: (() => void)[] = []
  let all = new Map<string, Acknowledgement>()
  let problem = ''
  let { working } = await readWorking(store, clock.wall())
  await publishTrust(store, working, identity, options.isLeader())

  const signed = (make: (leaf: { now: number; lifetimeMs: number }) => Issued): Signed => {
    const now = clock.wall()
    const lifetimeMs = Math.min(options.lifetimeMs, working.signing.expires - now)
    const issued = make({ now, lifetimeMs })
    return { chain: [issued.pem, ...working.signing.chain], expires: issued.expires }
  }

  const issue = (wanted: string, publicKey: KeyObject): Signed =>
    signed((leaf) => issueCertificate(working.signing, { identity: wanted, publicKey, ...leaf }))

  const facts = (wanted: WantedRoot | null): RotationFacts => ({
    now: clock.wall(),
    wanted,
    agents: pods
      .agents()
      .filter((pod) => pod.isReady && pod.isLive)
      .map((pod) => pod.key),
    acknowledged: all,
    lifetimeMs: options.lifetimeMs,
  })

  async function wantedRoot(): Promise<WantedRoot | null> {
    try {
      const wanted = await readWanted(store, clock.wall())
      problem = ''
      return wanted
    } catch (thrown) {
      if (!(thrown instanceof RootError)) throw thrown
      if (problem !== thrown.message) log.error({ problem: thrown.message }, 'the wanted root can not be used')
      problem = thrown.message
      return null
    }
  }

  /** Moves the rotation on by at most one step. */
  async function lead(version: string, wanted: WantedRoot | null): Promise<void> {
    const now = clock.wall()
    const { since, expires } = working.signing
    const isExpiring = expires - now < (expires - since) * rootRenewFraction
    if (working.phase === 'steady' && isExpiring && wanted?.isOwn === true && wanted.root.id === working.signing.id) {
      log.info({ root: working.signing.id }, 'the root expires before long: a new one is made')
      await replaceRoot(store, now)
      return
    }
    const next = nextWorking(working, facts(wanted))
    if (next === null) return
    // Somebody else was faster, or this replica no longer leads: the next tick reads what they wrote.
    if (!(await store.replace('secrets', workingSecret, storeWorking(next, version)))) return
    log.info({ from: working.phase, to: next.phase, signer: next.signing.id }, 'root rotation')
    adopt(next)
  }

  function adopt(next: Working): void {
    const isChanged = next.signing.id !== working.signing.id || trustOf(next) !== trustOf(working)
    working = next
    if (isChanged) for (const listener of listeners) listener()
  }

  async function tick(): Promise<void> {
    const { working: read, version } = await readWorking(store, clock.wall())
    adopt(read)
    const isLeader = options.isLeader()
    const isRotating = working.phase !== 'steady'
    if (isRotating || isLeader) {
      const shared = await shareAcknowledged(store, options.replica, isRotating ? [...own.values()] : null)
      all = mergeAcknowledged([...shared, ...own.values()])
    }
    if (isLeader) await lead(version, await wantedRoot())
    await publishTrust(store, working, identity, isLeader)
  }

  return {
    identity,
    trust: () => trustOf(working),
    signer: () => working.signing.id,
    signOwn: (publicKey) => issue(identity, publicKey),
    signServer: (publicKey, names) =>
      signed((leaf) => issueServerCertificate(working.signing, { names, publicKey, ...leaf })),
    agent: (authorization) => reviewAgent(rules, authorization),
    async sign(authorization, body) {
      const agent = await reviewAgent(rules, authorization)
      try {
        const request = readSignRequest(body)
        reviewIdentity(rules, agent, request.identity)
        const { chain, expires } = issue(request.identity, readKey(request.csr))
        log.info(
          { identity: request.identity, node: agent.node, agent: agent.key, expires: new Date(expires) },
          'certificate issued',
        )
        return { chain, expires, bundle: trustOf(working), signer: working.signing.id }
      } catch (thrown) {
        // Who asked is known by now: the log should say it.
        if (thrown instanceof Refusal) thrown.message += ` (asked by ${agent.key} on node ${agent.node})`
        throw thrown
      }
    },
    acknowledge(report) {
      const pod = report.pod.includes('/') ? report.pod : `${namespace}/${report.pod}`
      const isNew = !own.has(pod)
      own.set(pod, { pod, at: clock.wall(), trust: report.trust ?? '', signers: report.signers ?? [] })
      // Agents that are gone make room when others come.
      if (isNew) for (const each of own.keys()) if (pods.pod(each) === null) own.delete(each)
    },
    status: () => statusOf(working, waitingFor(working, facts(null)), problem),
    rotate: () => replaceRoot(store, clock.wall()),
    onChange: (listener) => listeners.push(listener),
    tick,
    async run(signal) {
      while (!signal.aborted) {
        await clock.sleep(tickMs, signal)
        if (signal.aborted) return
        await tick().catch((thrown) => log.warn({ error: messageOf(thrown) }, 'the state of the root can not be read'))
      }
    },
  }
}
