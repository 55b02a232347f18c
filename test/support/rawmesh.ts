// A raw caller and a raw endpoint with an agent's data thread between them: the bed of the wire suites.

import { expect } from 'chai'
import { type AgentOptions, type AgentUnderTest, startAgent } from './agent.ts'
import { RawServer, type RawSocket, rawConnect } from './raw.ts'
import { until } from './until.ts'

export const host = 'web-mesh.shop'

export interface Bed {
  readonly agent: AgentUnderTest
  readonly server: RawServer
  /** A new caller's connection to the mesh port. */
  caller(port?: number): Promise<RawSocket>
  /** A new caller that has sent a request, and the connection to the server that the request has opened. */
  begin(request: string): Promise<{ caller: RawSocket; endpoint: RawSocket }>
  /**
   * Sends a request on a connection of its own, and expects it to be refused before any byte of it goes up.
   * @returns the response, whose connection must have been closed
   */
  refuse(request: string): Promise<string>
  /** Sends requests that must go through one by one: shows that the agent is as good as new. */
  works(): Promise<void>
  /** Checks that nothing is left, and ends all. */
  stop(): Promise<void>
}

/** Starts server and agent; the Service `shop/web` leads to the server. */
export async function startBed(options: AgentOptions = {}): Promise<Bed> {
  const server = await RawServer.listen()
  const agent = await startAgent({ upstreams: [server.port], ...options }).catch(async (error) => {
    await server.stop()
    throw error
  })
  const callers: RawSocket[] = []
  const caller = async (port = agent.port) => {
    const socket = await rawConnect(port, agent.address)
    callers.push(socket)
    return socket
  }
  return {
    agent,
    server,
    caller,
    async begin(request) {
      const socket = await caller()
      socket.send(request)
      return { caller: socket, endpoint: await server.next() }
    },
    async refuse(request) {
      const before = server.received.length
      const socket = await caller()
      socket.send(request)
      const response = await socket.readMessage()
      expect((await socket.gone()).rest).to.equal('')
      socket.destroy()
      expect(server.received.slice(before), 'bytes that went up').to.equal('')
      return response
    },
    async works() {
      // Connections that the test holds would be used again, and nobody would answer on them.
      for (const connection of server.connections) connection.destroy()
      await until(() => agent.thread.hop.counts.open === 0, 'the end of the connections to the endpoint')
      server.answerAll(ok('fine'))
      const socket = await caller()
      for (let count = 0; count < 2; count++) {
        socket.send(get('/works'))
        expect(plain(await socket.readMessage())).to.equal(okDown('fine'))
      }
      socket.destroy()
    },
    async stop() {
      for (const socket of callers) socket.destroy()
      try {
        await clean(agent)
      } finally {
        await agent.stop()
        await server.stop()
      }
    },
  }
}

/** With no caller connected, nothing may be in flight, and nothing may have been settled twice. */
export async function clean(agent: AgentUnderTest): Promise<void> {
  const { thread } = agent
  await until(
    () => thread.outbound.open === 0,
    () => `the end of ${thread.outbound.open} connections`,
  )
  await until(
    () => thread.hop.counts.open === thread.hop.counts.idle,
    () => `that all connections to endpoints are idle (${JSON.stringify(thread.hop.counts)})`,
  )
  expect(agent.twice, 'exchanges settled twice').to.have.length(0)
  const pools = thread.hop.report() as { endpoint: string; inFlight: number; open: number; idle: number }[]
  for (const { endpoint, inFlight, open, idle } of pools) {
    expect(inFlight, `in flight to ${endpoint}`).to.equal(0)
    expect(idle, `idle of ${open} to ${endpoint}`).to.equal(open)
  }
  // Each pool is watched; nothing else may be.
  await until(
    () => thread.deadlines.size <= pools.length,
    () => `that only ${pools.length} pools have deadlines, not ${thread.deadlines.size}`,
  )
}

/** A GET as a caller sends it. */
export function get(path = '/', lines = ''): string {
  return `GET ${path} HTTP/1.1\r\nHost: ${host}\r\n${lines}\r\n`
}

/** A POST with a body of its length. */
export function post(body: string, lines = ''): string {
  return `POST / HTTP/1.1\r\nHost: ${host}\r\nContent-Length: ${body.length}\r\n${lines}\r\n${body}`
}

/** A response as an endpoint sends it. */
export function ok(body: string, lines = ''): string {
  return `HTTP/1.1 200 OK\r\nDate: today\r\nContent-Length: ${body.length}\r\n${lines}\r\n${body}`
}

/** What the caller gets of `ok`. */
export function okDown(body: string, lines = ''): string {
  return `HTTP/1.1 200 OK\r\nDate: today\r\nContent-Length: ${body.length}\r\n${lines}\r\n${body}`
}

/** What the mesh says of the caller's identity: from the account of the caller's pod to that of the endpoint's. */
export const clientCert =
  'x-forwarded-client-cert: By=spiffe://cluster.local/ns/shop/sa/default;URI=spiffe://cluster.local/ns/shop/sa/client\r\n'

/** What each hop adds to a request, after the lines that the caller sent; random values as `plain` writes them. */
export const added =
  'x-forwarded-for: 127.0.0.1\r\nx-forwarded-proto: http\r\ntraceparent: TRACE\r\nx-request-id: ID\r\nvia: 1.1 weft\r\n' +
  clientCert

/** A request as the endpoint sees it: `lines` as the caller sent them. */
export function up(first: string, lines = '', body = ''): string {
  return `${first} HTTP/1.1\r\nhost: ${host}\r\n${lines}${added}\r\n${body}`
}

/** Replaces what is random, and the time. */
export function plain(message: string): string {
  return message
    .replace(/traceparent: 00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]\r\n/, 'traceparent: TRACE\r\n')
    .replace(/x-request-id: [0-9a-f-]{36}\r\n/, 'x-request-id: ID\r\n')
    .replace(/date: \w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT\r\n/, 'date: DATE\r\n')
}

/** The reason that a refusal carries. */
export function reasonOf(response: string): string {
  return /\r\nx-weft-error: (\w+)\r\n/.exec(response)?.[1] ?? 'none'
}

/** Status and reason of a refusal, e.g. `400 bad_request`. */
export function refusalOf(response: string): string {
  return `${response.slice(9, 12)} ${reasonOf(response)}`
}
