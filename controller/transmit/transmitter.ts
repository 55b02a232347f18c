// The fourth stage of the controller: every agent's link. `GET /v1/snapshot` streams the snapshot and its changes,
// `POST /v1/report` takes what the agent made of them.

import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Logger } from 'pino'
import type { Clock } from '../clock.ts'
import type { Report, SnapshotQuery } from '../contract/messages.ts'
import { agreeContract, contract } from '../contract/version.ts'
import type { Encoded } from '../translate/translate.ts'
import type { Authenticate, Verdict } from './authenticate.ts'
import { readReport } from './report.ts'
import { type Agent, type Session, startSession, type Target } from './session.ts'
import { openTrack, type Track } from './track.ts'

export interface TransmitterOptions {
  clock: Clock
  log: Logger
  /** Name of this replica. */
  controller: string
  authenticate: Authenticate
  /** An authenticated agent has reported. */
  reported?(report: Report): void
}

/** An agent, for /debug and /metrics. */
export interface AgentState extends Agent {
  /** Whether it has a session with this replica; reports may come without, by another connection. */
  isConnected: boolean
  contract: number
  /** Milliseconds since the epoch; 0 without a session. */
  since: number
  /** Version last sent here, and the one that the agent says is in force. */
  sent: string
  applied: string
  /** Why it refused its last transaction. */
  error: Report['error']
  /** Transactions that it reported to be in force, and those that it refused. */
  acks: number
  rejections: number
  /** For how long it has not had the newest state in force; 0: it has. */
  lagMs: number
  /** Transactions sent in this session, and how many of them were full snapshots. */
  transactions: number
  fulls: number
  bytes: number
}

export interface Transmitter {
  /** Makes this the newest state and sends what changed. The first call opens the gate. */
  publish(common: readonly Encoded[], nodes: ReadonlyMap<string, readonly Encoded[]>): void
  /** Answers a request of an agent. @returns false if the path is not ours */
  handle(request: IncomingMessage, response: ServerResponse): boolean
  agents(): AgentState[]
  /** Sessions at the moment. */
  readonly sessions: number
  /** How often changes were encoded: once for each change and contract version in use, however many agents there are. */
  readonly encoded: number
  /** Ends sessions, chosen at random and spread over the time. Their agents come back, to whichever replica takes them. */
  shed(count: number, overMs: number): void
  /** The state that agents of a node are to have, with all its resources; null before the first publish. */
  target(node: string): Target | null
  /** Ends all sessions, at the latest after 2 s; agents then turn to another replica. */
  close(): Promise<void>
}

interface Heard {
  agent: Agent
  report: Report
  at: number
  acks: number
  rejections: number
}

/** A report whose agent has no session here is forgotten after this. */
const reportKeptMs = 10 * 60_000

/** Opens the transmitter; it answers 503 until the first `publish`. */
export function openTransmitter(options: TransmitterOptions): Transmitter {
  const { clock, log } = options
  /** By pod UID: an agent has one session, and a new one replaces the old. */
  const sessions = new Map<string, Session>()
  const heard = new Map<string, Heard>()
  const common = openTrack()
  const nodes = new Map<string, Track>()
  /** Of nodes without pods that we know of. */
  const noPods = openTrack()
  const stopping = new AbortController()
  let isOpen = false
  /** Encoded by tracks that are gone. */
  let encodedBefore = 0

  function target(node: string): Target | null {
    return isOpen ? { common, node: nodes.get(node) ?? noPods } : null
  }

  function publish(newCommon: readonly Encoded[], newNodes: ReadonlyMap<string, readonly Encoded[]>): void {
    isOpen = true
    common.advance(newCommon)
    for (const [node, track] of nodes) {
      if (newNodes.has(node)) continue
      nodes.delete(node)
      encodedBefore += track.encoded
    }
    for (const [node, resources] of newNodes) {
      const track = nodes.get(node) ?? openTrack()
      nodes.set(node, track)
      track.advance(resources)
    }
    for (const session of sessions.values()) session.wake()
  }

  async function snapshot(request: IncomingMessage, response: ServerResponse, url: URL): Promise<void> {
    const query = parseQuery(url)
    if (typeof query === 'string') return refuse(response, 400, 'bad_query', query)
    const agreed = agreeContract(query.oldest, query.newest)
    if (agreed === null) {
      const message = `the agent understands contract versions ${query.oldest} to ${query.newest}, this controller speaks ${contract.oldest} to ${contract.newest}; run versions of both that are at most one release apart`
      return refuse(response, 406, 'contract_refused', message, { ...contract })
    }
    const verdict = await options.authenticate(request, query)
    if (!('agent' in verdict)) return refuseAgent(response, verdict, query)
    if (stopping.signal.aborted || !isOpen) {
      response.setHeader('retry-after', '1')
      const message = stopping.signal.aborted
        ? 'this replica is shutting down'
        : 'this replica has not seen the whole cluster yet'
      return refuse(response, 503, 'not_ready', message)
    }
    if (response.destroyed) return
    join(request, response, verdict.agent, agreed)
  }

  function join(request: IncomingMessage, response: ServerResponse, agent: Agent, agreed: number): void {
    request.socket.setKeepAlive(true, 15_000)
    sessions.get(agent.podUid)?.end()
    const sessionLog = log.child({ node: agent.node, pod: agent.pod })
    const session = startSession({
      agent,
      contract: agreed,
      controller: options.controller,
      address: addressOf(request.socket),
      response,
      isGzip: /\bgzip\b/.test(String(request.headers['accept-encoding'] ?? '')),
      clock,
      log: sessionLog,
      target: () => target(agent.node)!,
    })
    sessions.set(agent.podUid, session)
    sessionLog.info({ contract: agreed }, 'agent connected')
    void session.ended.then(() => {
      if (sessions.get(agent.podUid) === session) sessions.delete(agent.podUid)
      sessionLog.info({ transactions: session.transactions, bytes: session.bytes }, 'agent disconnected')
    })
  }

  async function report(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const parsed = await readReport(request)
    if (typeof parsed === 'string') return refuse(response, 400, 'bad_report', parsed)
    const verdict = await options.authenticate(request, parsed)
    if (!('agent' in verdict)) return refuseAgent(response, verdict, parsed)
    const { agent } = verdict
    const { acks, rejections } = heard.get(agent.podUid) ?? { acks: 0, rejections: 0 }
    const isAck = parsed.error === null
    heard.set(agent.podUid, {
      ...{ agent, report: parsed, at: clock.now() },
      acks: acks + (isAck ? 1 : 0),
      rejections: rejections + (isAck ? 0 : 1),
    })
    sessions.get(agent.podUid)?.acknowledge(parsed.version)
    if (parsed.error !== null) {
      const { version, message } = parsed.error
      log.error({ ...agent, version, inForce: parsed.version, error: message }, 'agent refused a snapshot')
    }
    forgetOldReports()
    options.reported?.(parsed)
    response.writeHead(204).end()
  }

  function forgetOldReports(): void {
    for (const [uid, { at }] of heard) {
      if (!sessions.has(uid) && clock.now() - at > reportKeptMs) heard.delete(uid)
    }
  }

  function refuseAgent(
    response: ServerResponse,
    verdict: Exclude<Verdict, { agent: Agent }>,
    claim: { node: string; pod: string },
  ): void {
    log.warn({ node: claim.node, pod: claim.pod, reason: verdict.message }, 'agent refused')
    const error = verdict.status === 503 ? 'not_ready' : 'agent_refused'
    refuse(response, verdict.status, error, verdict.message)
  }

  function handle(request: IncomingMessage, response: ServerResponse): boolean {
    const url = URL.parse(request.url ?? '/', 'http://controller')
    const route = url === null ? undefined : routes[url.pathname]
    if (url === null || route === undefined) return false
    if (request.method !== route.method) {
      response.setHeader('allow', route.method)
      refuse(response, 405, 'method_refused', `${url.pathname} takes ${route.method}`)
      return true
    }
    route.answer(request, response, url).catch((thrown) => {
      log.error({ error: thrown, path: url.pathname }, 'answering an agent failed')
      if (response.headersSent) response.destroy()
      else refuse(response, 500, 'internal', 'the controller failed; see its log')
    })
    return true
  }

  const routes: Record<string, { method: string; answer: typeof snapshot } | undefined> = {
    '/v1/snapshot': { method: 'GET', answer: snapshot },
    '/v1/report': { method: 'POST', answer: report },
  }

  function agents(): AgentState[] {
    const uids = new Set([...sessions.keys(), ...heard.keys()])
    return [...uids].map((uid): AgentState => {
      const session = sessions.get(uid)
      const last = heard.get(uid)
      return {
        ...(session?.agent ?? last!.agent),
        isConnected: session !== undefined,
        contract: session?.contract ?? 0,
        since: session?.since ?? 0,
        sent: session?.version ?? '',
        applied: last?.report.version ?? '',
        error: last?.report.error ?? null,
        acks: last?.acks ?? 0,
        rejections: last?.rejections ?? 0,
        lagMs: Math.ceil(session?.lagMs ?? 0),
        transactions: session?.transactions ?? 0,
        fulls: session?.fulls ?? 0,
        bytes: session?.bytes ?? 0,
      }
    })
  }

  function shed(count: number, overMs: number): void {
    const left = [...sessions.values()]
    for (let each = Math.min(count, left.length); each > 0; each--) {
      const [session] = left.splice(Math.floor(clock.random() * left.length), 1)
      void clock.sleep(clock.random() * overMs, stopping.signal).then(() => session?.end())
    }
  }

  async function close(): Promise<void> {
    stopping.abort()
    for (const session of sessions.values()) session.end()
    await Promise.race([Promise.all([...sessions.values()].map((each) => each.ended)), clock.sleep(2000)])
  }

  return {
    publish,
    handle,
    agents,
    target,
    shed,
    close,
    get sessions() {
      return sessions.size
    },
    get encoded() {
      return [common, noPods, ...nodes.values()].reduce((sum, track) => sum + track.encoded, encodedBefore)
    },
  }
}

/** Where a connection arrived: behind a Service this is the pod's own address. Empty if it is gone already. */
function addressOf({ localAddress = '', localPort = 0 }: Socket): string {
  if (localAddress === '') return ''
  const address = localAddress.replace(/^::ffff:/, '')
  return address.includes(':') ? `[${address}]:${localPort}` : `${address}:${localPort}`
}

function parseQuery(url: URL): SnapshotQuery | string {
  const query = Object.fromEntries(url.searchParams)
  const { node = '', pod = '', oldest = '', newest = '' } = query
  for (const name of Object.keys(query)) {
    if (!['node', 'pod', 'oldest', 'newest'].includes(name)) return `unknown parameter "${name}"`
  }
  if (node === '') return 'parameter "node" is missing: the name of the agent\'s node'
  if (pod === '') return 'parameter "pod" is missing: the name of the agent\'s pod'
  for (const [name, value] of Object.entries({ oldest, newest })) {
    if (!/^[1-9]\d{0,5}$/.test(value)) return `parameter "${name}" must be a contract version, a whole number from 1`
  }
  if (Number(oldest) > Number(newest)) return 'parameter "oldest" is above "newest"'
  return { node, pod, oldest: Number(oldest), newest: Number(newest) }
}

function refuse(
  response: ServerResponse,
  status: number,
  error: string,
  message: string,
  more: Record<string, unknown> = {},
): void {
  response.writeHead(status, { 'content-type': 'application/json' })
  response.end(`${JSON.stringify({ error, message, ...more })}\n`)
}
