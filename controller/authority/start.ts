// The authority as a part of the controller's process: opened as soon as the API server and the root allow it, with what
// the agents' link needs of it.

import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Logger } from 'pino'
import { backoff, type Clock } from '../clock.ts'
import { agentAccount } from '../contract/identity.ts'
import type { Report } from '../contract/messages.ts'
import { messageOf } from '../errors.ts'
import type { Api } from '../observe/api.ts'
import type { World } from '../observe/world.ts'
import type { Authenticate } from '../transmit/authenticate.ts'
import { type Authority, openAuthority } from './authority.ts'
import { type LinkTls, linkTls } from './link.ts'
import { podIndex } from './pods.ts'
import { Refusal, tokenReviewer } from './review.ts'
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
  /** Name of this replica. */
  controller: string
  /** Lifetime of certificates. */
  lifetimeMs: number
}

export interface OpenAuthority {
  authority: Authority
  /** For the server of the agents' link. */
  tls: LinkTls
  /** Answers `POST /v1/sign`; false for any other path. */
  handle(request: IncomingMessage, response: ServerResponse): boolean
  /** Who may have a node's snapshot: the agent that a token proves, for its own node and pod. */
  authenticate: Authenticate
  /** For each report of an agent. */
  reported(report: Report): void
}

export interface RunningAuthority {
  /** Resolves when there is a root to sign with. */
  readonly opened: Promise<OpenAuthority>
  /** Why it is not open yet; empty once it is. */
  trouble(): string
  stop(): Promise<void>
}

const firstBackoffMs = 500
const maxBackoffMs = 10_000

/** Starts the authority; it tries until it can, and says meanwhile what it lacks. */
export function startAuthority(parts: AuthorityParts): RunningAuthority {
  const { clock, log } = parts
  const stopping = new AbortController()
  const { signal } = stopping
  const running: Promise<void>[] = []
  let trouble = 'the root of the mesh'

  async function open(): Promise<OpenAuthority> {
    const waits = backoff(clock, firstBackoffMs, maxBackoffMs)
    for (;;) {
      try {
        const authority = await openAuthority({
          namespace: parts.namespace,
          trustDomain: parts.trustDomain,
          replica: parts.controller,
          store: kubeStore(parts.api, parts.namespace),
          review: tokenReviewer(parts.api),
          pods: podIndex(parts.world, { namespace: parts.namespace, account: agentAccount }),
          lifetimeMs: parts.lifetimeMs,
          isLeader: parts.isLeader,
          clock,
          log,
        })
        const tls = linkTls(authority, parts)
        running.push(authority.run(signal), tls.run(signal))
        trouble = ''
        return around(authority, tls)
      } catch (thrown) {
        const found = messageOf(thrown)
        if (found !== trouble) log.error({ error: found }, 'the authority can not be opened')
        trouble = found
        await clock.sleep(waits.next(), signal)
        if (signal.aborted) throw thrown
      }
    }
  }

  function around(authority: Authority, tls: LinkTls): OpenAuthority {
    const sign = signHandler(authority, log)
    return {
      authority,
      tls,
      handle(request, response) {
        if (request.url !== '/v1/sign') return false
        if (request.method === 'POST') void sign(request, response)
        else response.writeHead(405, { allow: 'POST' }).end()
        return true
      },
      async authenticate(request, claim) {
        try {
          const pod = await authority.agent(request.headers.authorization)
          const name = pod.key.slice(pod.namespace.length + 1)
          if (claim.node !== pod.node || claim.pod !== name)
            return {
              status: 403,
              message: `the token is of pod ${name} on node ${pod.node}, not of ${claim.pod} on ${claim.node}`,
            }
          return { agent: { node: pod.node, pod: name, podUid: pod.uid } }
        } catch (thrown) {
          if (!(thrown instanceof Refusal)) throw thrown
          return { status: thrown.reason === 'no_token' ? 401 : 403, message: thrown.message }
        }
      },
      reported: (report) => authority.acknowledge(report),
    }
  }

  const opened = open()
  // Who never waits for it must not be ended by it.
  opened.catch(() => {})
  return {
    opened,
    trouble: () => trouble,
    async stop() {
      stopping.abort()
      await opened.catch(() => {})
      await Promise.all(running)
    },
  }
}
