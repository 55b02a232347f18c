// The authority as a part of the controller's process: opened as soon as the API server and the root allow it, with what
// the agents' link needs of it.

import type { IncomingMessage } from 'node:http'
import { TLSSocket, type TlsOptions } from 'node:tls'
import type { Logger } from 'pino'
import { backoff, type Clock } from '../clock.ts'
import { agentAccount } from '../contract/identity.ts'
import type { Report } from '../contract/messages.ts'
import { messageOf } from '../errors.ts'
import type { Api } from '../observe/api.ts'
import type { World } from '../observe/world.ts'
import type { Handler, ServerTls } from '../serve.ts'
import { type Authenticate, type Claim, checkClaim, type Verdict } from '../transmit/authenticate.ts'
import { type Authority, openAuthority } from './authority.ts'
import { type LinkTls, linkRules, linkTls } from './link.ts'
import { podIndex } from './pods.ts'
import { Refusal, type RefusalReason, refusalReasons, tokenReviewer } from './review.ts'
import { type ServingTls, servingTls } from './serving.ts'
import { signHandler } from './sign.ts'
import { kubeStore } from './store.ts'

export interface AuthorityParts {
  api: Pick<Api, 'request'>
  clock: Clock
  log: Logger
  world: () => World
  isLeader: () => boolean
  /** The mesh's own namespace. */
  namespace: string
  trustDomain: string
  /** Labels of the agents' pods. */
  agentSelector: Readonly<Record<string, string>>
  /** Name of this replica. */
  controller: string
  /** Lifetime of certificates. */
  lifetimeMs: number
}

/** What there is once there is a root. */
export interface OpenAuthority {
  readonly authority: Authority
  readonly tls: LinkTls
}

/** Since the start of this replica, for metrics. */
export interface AuthorityCounts {
  signed: number
  /** Refused requests, for certificates as for snapshots. */
  refused: Record<RefusalReason, number>
}

export interface RunningAuthority {
  /** Resolves when there is a root to sign with. */
  readonly opened: Promise<OpenAuthority>
  /** null before that. */
  readonly open: OpenAuthority | null
  readonly counts: Readonly<AuthorityCounts>
  /** For the server of the agents' link: until there is a root, every handshake fails. */
  readonly tls: ServerTls
  /** For another server of this process, that callers outside of the mesh know by these DNS names. */
  serverTls(names: readonly string[]): ServerTls
  /** Answers `POST /v1/sign`; false for any other path. */
  readonly handle: Handler
  /**
   * Who may have a node's snapshot: the agent that a token proves, for its own node and pod. Where nobody can review the
   * token now, an agent's certificate will do, from the address of the pod that it says it is.
   */
  readonly authenticate: Authenticate
  /** For each report of an agent. */
  reported(report: Report): void
  /** Why it is not open yet; empty once it is. */
  trouble(): string
  stop(): Promise<void>
}

/** For callers who bring no certificate: the API server as a rule has none to show. */
const serverRules: TlsOptions = { minVersion: 'TLSv1.3', handshakeTimeout: 5_000 }

const firstBackoffMs = 500
const maxBackoffMs = 10_000

const undecided = { status: 503, message: 'nobody can tell now who asks: the API server does not answer' } as const

/** Starts the authority; it tries until it can, and says meanwhile what it lacks. */
export function startAuthority(parts: AuthorityParts): RunningAuthority {
  const { clock, log, namespace, trustDomain } = parts
  const marks = { namespace, account: agentAccount, selector: parts.agentSelector }
  const pods = podIndex(parts.world, marks)
  const stopping = new AbortController()
  const { signal } = stopping
  const running: Promise<void>[] = []
  const none = Object.fromEntries(refusalReasons.map((reason) => [reason, 0])) as Record<RefusalReason, number>
  const counts: AuthorityCounts = { signed: 0, refused: none }
  let trouble = 'the root of the mesh'
  let open: OpenAuthority | null = null
  let sign: ReturnType<typeof signHandler> | null = null

  function decided(refusal: RefusalReason | null): void {
    if (refusal === null) counts.signed++
    else counts.refused[refusal]++
  }

  async function begin(): Promise<OpenAuthority> {
    const authority = await openAuthority({
      namespace,
      trustDomain,
      replica: parts.controller,
      store: kubeStore(parts.api, namespace),
      review: tokenReviewer(parts.api),
      pods,
      lifetimeMs: parts.lifetimeMs,
      isLeader: parts.isLeader,
      clock,
      log,
    })
    const tls = linkTls(authority, { namespace, trustDomain, clock, log })
    running.push(authority.run(signal), tls.run(signal))
    sign = signHandler(authority, log, decided)
    return { authority, tls }
  }

  async function keepTrying(): Promise<OpenAuthority> {
    const waits = backoff(clock, firstBackoffMs, maxBackoffMs)
    for (;;) {
      try {
        open = await begin()
        trouble = ''
        log.info({ root: open.authority.signer() }, 'the authority is open')
        return open
      } catch (thrown) {
        const found = messageOf(thrown)
        if (found !== trouble) log.error({ error: found }, 'the authority can not be opened')
        trouble = found
        await clock.sleep(waits.next(), signal)
        if (signal.aborted) throw thrown
      }
    }
  }

  async function byToken(authority: Authority, request: IncomingMessage, claim: Claim): Promise<Verdict> {
    try {
      const pod = await authority.agent(request.headers.authorization)
      const name = pod.key.slice(namespace.length + 1)
      if (claim.node === pod.node && claim.pod === name) {
        return { agent: { node: pod.node, pod: name, podUid: pod.uid } }
      }
      decided('wrong_node')
      const message = `the token is of pod ${name} on node ${pod.node}, not of ${claim.pod} on ${claim.node}`
      return { status: 403, message }
    } catch (thrown) {
      if (!(thrown instanceof Refusal)) throw thrown
      decided(thrown.reason)
      return { status: thrown.reason === 'no_token' ? 401 : 403, message: thrown.message }
    }
  }

  /** All agents have the same identity, so the address must say which of them it is. */
  function byCertificate({ socket }: IncomingMessage, claim: Claim): Verdict {
    const address = (socket.remoteAddress ?? '').replace(/^::ffff:/, '')
    const isMutual = socket instanceof TLSSocket && socket.authorized
    const known = pods.pod(`${namespace}/${claim.pod}`)
    if (!isMutual || known?.addresses.includes(address) !== true) return undecided
    return checkClaim(parts.world(), { namespace, agentSelector: parts.agentSelector }, claim)
  }

  const opened = keepTrying()
  // Who never waits for it must not be ended by it.
  opened.catch(() => {})
  return {
    opened,
    get open() {
      return open
    },
    counts,
    tls: {
      options: () => open?.tls.options() ?? linkRules,
      attach: (server) => void opened.then(({ tls }) => tls.attach(server)).catch(() => {}),
    },
    serverTls(names) {
      let serving: ServingTls | null = null
      const made = opened.then(({ authority }) => {
        serving = servingTls(authority, clock, serverRules, (publicKey) => authority.signServer(publicKey, names))
        running.push(serving.run(signal))
        return serving
      })
      made.catch(() => {})
      return {
        options: () => serving?.options() ?? serverRules,
        attach: (server) => void made.then((ready) => ready.attach(server)).catch(() => {}),
      }
    },
    handle(request, response) {
      if (request.url !== '/v1/sign') return false
      if (request.method !== 'POST') response.writeHead(405, { allow: 'POST' }).end()
      else if (sign === null) response.writeHead(503, { 'retry-after': '1' }).end()
      else void sign(request, response)
      return true
    },
    async authenticate(request, claim) {
      if (open === null) return undecided
      try {
        return await byToken(open.authority, request, claim)
      } catch (thrown) {
        const verdict = byCertificate(request, claim)
        const { node, pod } = claim
        log.warn({ node, pod, error: messageOf(thrown) }, 'a token can not be reviewed now')
        return verdict
      }
    },
    reported: (report) => open?.authority.acknowledge(report),
    trouble: () => trouble,
    async stop() {
      stopping.abort()
      await opened.catch(() => {})
      await Promise.all(running)
    },
  }
}
