// A Service `shop/web` with a policy and endpoints of its own, behind an agent's data thread: the bed of the policy
// suites. Each endpoint is a raw server, so that tests see and say exactly what goes over the wire.

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Clock } from '../../agent/clock.ts'
import type { Resource, ServicePolicy } from '../../controller/contract/resources.ts'
import { ownNetwork } from './addresses.ts'
import { type AgentUnderTest, startAgent } from './agent.ts'
import { RawServer, type RawSocket, rawConnect } from './raw.ts'
import { clean, get, reasonOf } from './rawmesh.ts'
import { endpoints, service, spec, workload } from './resources.ts'

export interface ShopOptions {
  policy?: ServicePolicy
  /** How many endpoints there are. */
  endpoints?: number
  flags?: string[]
  random?: () => number
  clock?: Clock
  /** Beside the mesh, the callers and `shop/web`. */
  resources?: Resource[]
}

export interface Answer {
  status: number
  reason: string
  /** Head and body as they came. */
  text: string
  ms: number
}

export interface Shop {
  readonly agent: AgentUnderTest
  readonly servers: readonly RawServer[]
  /** Address of a caller: 0 is `shop/client`, 1 `shop/other`. */
  callerAddress(number: number): string
  /** A new connection. */
  caller(number?: number): Promise<RawSocket>
  /** Sends a request on a connection of its own, and reads its response. */
  ask(request?: string, caller?: number): Promise<Answer>
  /** Changes the policy of `shop/web`. */
  change(policy: ServicePolicy): Promise<void>
  /** Checks that nothing is left, and ends all. */
  stop(): Promise<void>
}

/** Starts everything. Callers have addresses of their own, and identities. */
export async function startShop(options: ShopOptions = {}): Promise<Shop> {
  const network = ownNetwork()
  const servers = await Promise.all(Array.from({ length: options.endpoints ?? 1 }, () => RawServer.listen()))
  const web = (policy: ServicePolicy) => service('shop/web', { policy })
  const callerAddress = (number: number) => `${network}.${11 + number}`
  const agent = await startAgent({
    address: `${network}.1`,
    flags: options.flags ?? [],
    ...(options.random === undefined ? {} : { random: options.random }),
    ...(options.clock === undefined ? {} : { clock: options.clock }),
    resources: [
      workload(callerAddress(0), { account: 'shop/client', pod: 'shop/client-1' }),
      workload(callerAddress(1), { account: 'shop/other', pod: 'shop/other-1' }),
      web(options.policy ?? {}),
      endpoints('shop/web:80', ...servers.map(({ port }) => spec('127.0.0.1', { port }))),
      ...(options.resources ?? []),
    ],
  })
  const callers: RawSocket[] = []
  const caller = async (number = 0) => {
    const socket = await rawConnect(agent.port, agent.address, callerAddress(number))
    callers.push(socket)
    return socket
  }
  return {
    agent,
    servers,
    callerAddress,
    caller,
    async ask(request = get(), number = 0) {
      const socket = await caller(number)
      const began = performance.now()
      socket.send(request)
      const text = await socket.readMessage(request.startsWith('HEAD'))
      const ms = performance.now() - began
      socket.destroy()
      return { status: Number(text.slice(9, 12)), reason: reasonOf(text), text, ms }
    },
    change: (policy) => agent.apply(web(policy)),
    async stop() {
      for (const socket of callers) socket.reset()
      try {
        await clean(agent)
      } finally {
        await agent.stop()
        for (const server of servers) await server.stop()
      }
    },
  }
}

/** Answers each whole request, on every connection of a server, by what it is told; null: not at all. */
export function answerEach(
  server: RawServer,
  answer: (request: string, number: number) => string | null | Promise<string>,
): void {
  let number = 0
  server.each((connection) => {
    const serve = async () => {
      for (;;) {
        const response = await answer(await connection.readMessage(), number++)
        if (response !== null) connection.send(response)
      }
    }
    void serve().catch(() => {})
  })
}

/** An HTTP server for load, where bytes are of no interest. */
export async function startServer(
  handle: (request: IncomingMessage, response: ServerResponse) => void,
): Promise<{ port: number; stop(): Promise<void> }> {
  const server: Server = createServer(handle)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    port: (server.address() as AddressInfo).port,
    stop: async () => {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

/** The first slots of an agent's series of a kind, by their labels: what the control thread publishes. */
export async function countsOf(agent: AgentUnderTest, kind: string, slots = 1): Promise<Map<string, number[]>> {
  // Series are announced a turn after they begin.
  await new Promise(setImmediate)
  const buffers = agent.messages.flatMap((message) => (message.type === 'slots' ? [message.buffer] : []))
  const found = new Map<string, number[]>()
  for (const message of agent.messages) {
    if (message.type !== 'series') continue
    for (const { kind: own, stretch, first, labels } of message.added) {
      if (own !== kind) continue
      found.set(labels.join(' '), [...new Float64Array(buffers[stretch]!).subarray(first, first + slots)])
    }
  }
  return found
}
