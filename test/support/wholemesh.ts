// A controller's link with its authority, and whole agents on two nodes, all in this process (but the data threads): what
// the controller tells, the ConfigMap as kubelets mount it, and the authority's clock are in the test's hands.

import { hash } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server as HttpServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import type { TLSSocket } from 'node:tls'
import { pino } from 'pino'
import { joinPort } from '../../agent/address.ts'
import { Agent, readCached } from '../../agent/agent.ts'
import { systemClock as agentClock } from '../../agent/clock.ts'
import { type LogLevel, readConfig } from '../../agent/config.ts'
import type { ControlLog } from '../../agent/observe/log.ts'
import type { Authority } from '../../controller/authority/authority.ts'
import { type RunningAuthority, startAuthority } from '../../controller/authority/start.ts'
import { systemClock } from '../../controller/clock.ts'
import type { Resource } from '../../controller/contract/resources.ts'
import type { Pod } from '../../controller/observe/objects.ts'
import { emptyWorld, type World } from '../../controller/observe/world.ts'
import { type Server, startServer } from '../../controller/serve.ts'
import type { Encoded } from '../../controller/translate/translate.ts'
import { openTransmitter, type Transmitter } from '../../controller/transmit/transmitter.ts'
import { ownNetwork } from './addresses.ts'
import { testPod } from './authority.ts'
import { FakeClock } from './clock.ts'
import type { KubeCluster } from './kubecluster.ts'
import { QuietLog } from './quiet.ts'
import { endpoints, mesh, service, spec, workload } from './resources.ts'

/** One request that the controller was sent. */
export interface Asked {
  path: string
  node: string
  /** Whether a trusted certificate was shown. */
  isMutual: boolean
}

export interface WholeMesh {
  readonly authority: Authority
  /** Turns the authority's clock. */
  turn(ms: number): void
  readonly asked: Asked[]
  /** The agents of node1 and node2, in the order in which they were started. */
  readonly agents: WholeAgent[]
  startAgent(node: string, change?: AgentChange): Promise<WholeAgent>
  /** Command line of a node's agent, for a process of its own; the test ends it. */
  agentArguments(node: string): string[]
  /** Account of the agents. */
  readonly agentAccount: string
  /** Where agents keep what they keep, each in a folder of its own, and the trust that they mount. */
  readonly folder: string
  /** Adds a pod that may call. @returns its address */
  addCaller(node: string, account: string): string
  removeCaller(address: string): void
  /** Where callers of node1 find Service `shop/web` (Host `web-mesh.shop`), whose only pod is on node2. */
  readonly entry: { host: string; port: number }
  /** Copies the published ConfigMap into what agents mount, as kubelets do. */
  mount(): Promise<void>
  /** Ends the controller between one moment and the next, and starts another one. */
  crash(): Promise<void>
  stopController(): Promise<void>
  startController(): Promise<void>
  stop(): Promise<void>
}

/** What is different with an agent. */
export interface AgentChange {
  trustFolder?: string
  controller?: string
}

export interface WholeAgent {
  readonly agent: Agent
  readonly node: string
  readonly log: QuietLog
  /** Body of a page of its admin port. */
  page(path: string): Promise<string>
}

class AgentLog extends QuietLog implements ControlLog {
  level = (): LogLevel => 'info'
  setLevel(): void {}
  relay(thread: number, { level, message, fields }: Parameters<ControlLog['relay']>[1]): void {
    this[level]({ thread, ...fields }, message)
  }
}

const facts = {
  ...{ version: '0', nodeVersion: 'v0', startedAt: 0 },
  ...{ residentBytes: () => 1, cpuSeconds: () => 2, openFiles: () => 3 },
}

function encoded(resource: Resource): Encoded {
  const text = JSON.stringify(resource)
  return { resource, text, hash: hash('sha1', text) }
}

export interface WholeMeshOptions {
  /** The controller, the agent of node2 and the pod there are on ::1; node1 and its callers stay on IPv4. */
  isIpv6?: boolean
}

/** Starts the controller's side and the service; agents are started by the test. */
export async function startWholeMesh(
  cluster: KubeCluster,
  handler: (request: IncomingMessage, response: ServerResponse) => void = (_request, response) => response.end('hello'),
  { isIpv6 = false }: WholeMeshOptions = {},
): Promise<WholeMesh> {
  const net = ownNetwork()
  const addresses: Record<string, string> = { node1: `${net}.1`, node2: isIpv6 ? '::1' : `${net}.2` }
  // The only IPv6 address of loopback is the pod's: its agent must not take it for its own.
  const listening: Record<string, string> = isIpv6 ? { ...addresses, node2: '::' } : addresses
  const serverPod = isIpv6 ? '::1' : `${net}.3`
  const controllerHost = isIpv6 ? '::1' : '127.0.0.1'
  const namespace = await cluster.test.namespace()
  const folder = mkdtempSync(join(tmpdir(), 'weft-whole-'))
  const trustFolder = join(folder, 'trust')
  const log = pino({ level: 'silent' })
  const clock = new FakeClock(0, Date.now() - 600_000)
  const agents: WholeAgent[] = []
  const asked: Asked[] = []
  const callers = new Map<string, { node: string; account: string }>([
    [serverPod, { node: 'node2', account: 'shop/web' }],
  ])
  let world: World = emptyWorld
  let tokens = new Map<string, string>()
  let port = 0
  let replicas = 0
  let running: { authority: RunningAuthority; transmitter: Transmitter; server: Server } | null = null
  const web = await startWeb(serverPod, handler)

  for (const node of ['node1', 'node2']) {
    const pod = await cluster.objects.agent(namespace, `weft-agent-${node}`, node, addresses[node]!)
    tokens = new Map([...tokens, [node, await cluster.objects.token(pod, 'weft-authority')]])
    add(pod)
  }

  function add(pod: Pod): void {
    world = { ...world, pods: new Map([...world.pods, [`${pod.metadata.namespace}/${pod.metadata.name}`, pod]]) }
  }

  function publish(): void {
    for (const [address, { node, account }] of callers) {
      add(testPod(`${account}-${address.replaceAll(/[.:]/g, '-')}`, node, account.slice(account.indexOf('/') + 1)))
    }
    const target = spec(serverPod, { port: (web.address() as AddressInfo).port, node: 'node2', account: 'shop/web' })
    const common: Resource[] = [
      mesh,
      service('shop/web'),
      endpoints('shop/web:80', target),
      { kind: 'port', name: '16384', port: 80, service: null },
      ...Object.entries(addresses).map(([name, address]) => ({ kind: 'peer' as const, name, address, port: 15008 })),
    ]
    const nodes = Object.keys(addresses).map((node): [string, Encoded[]] => {
      const own = [...callers].filter(([, caller]) => caller.node === node)
      const pods = own.map(([address, { account }]) => workload(address, { account }))
      const agent = workload(listening[node]!, { account: `${namespace}/weft-agent` })
      return [node, [agent, ...pods].map(encoded)]
    })
    running?.transmitter.publish(common.map(encoded), new Map(nodes))
  }

  async function startController(): Promise<void> {
    const controller = `controller-${++replicas}`
    const agentSelector = { 'app.kubernetes.io/name': 'weft-agent' }
    const authority = startAuthority({
      ...{ api: cluster.api, clock, log, namespace, controller, agentSelector },
      world: () => world,
      isLeader: () => true,
      trustDomain: 'cluster.local',
      lifetimeMs: 86_400_000,
    })
    const { authenticate, reported } = authority
    const transmitter = openTransmitter({ clock: systemClock, log, controller, authenticate, reported })
    const note = ({ url = '', socket }: IncomingMessage) => {
      const node = Object.keys(addresses).find((each) => addresses[each] === socket.remoteAddress) ?? ''
      asked.push({ path: url.split('?')[0]!, node, isMutual: (socket as TLSSocket).authorized })
      return false
    }
    await authority.opened
    const server = await startServer(controllerHost, port, [note, authority.handle, transmitter.handle], authority.tls)
    port = server.port
    running = { authority, transmitter, server }
    publish()
  }

  async function stopController(): Promise<void> {
    const ending = running
    running = null
    await ending?.server.close(0)
    await ending?.transmitter.close()
    await ending?.authority.stop()
  }

  async function mount(): Promise<void> {
    const { body } = await cluster.test.request('GET', `/api/v1/namespaces/${namespace}/configmaps/weft-trust`)
    for (const [name, text] of Object.entries(body.data as Record<string, string>)) {
      writeFileSync(join(trustFolder, name), text)
    }
  }

  function agentArguments(node: string, change: AgentChange = {}): string[] {
    const state = mkdtempSync(join(folder, 'state-'))
    writeFileSync(join(state, 'token'), tokens.get(node)!)
    return [
      ...['--node', node, '--pod', `weft-agent-${node}`, '--address', listening[node]!, '--admin-port', '0'],
      ...['--controller', change.controller ?? `https://${joinPort(controllerHost, port)}`],
      ...['--token-file', join(state, 'token'), '--state-dir', state],
      ...['--trust-dir', change.trustFolder ?? trustFolder, '--data-threads', '1'],
    ]
  }

  async function startAgent(node: string, change: AgentChange = {}): Promise<WholeAgent> {
    const config = readConfig(agentArguments(node, change), {})
    const agentLog = new AgentLog()
    const agent = new Agent(config, {
      clock: agentClock,
      // No jitter: what a root's change spreads over a minute comes at once.
      random: () => 0,
      log: agentLog,
      out: new PassThrough().resume(),
      facts,
      script: new URL('../../agent/worker.ts', import.meta.url),
      onFatal: (reason) => agentLog.error({ reason }, 'fatal'),
    })
    await agent.start(await readCached(config, agentLog))
    const page = async (path: string) => (await fetch(`http://127.0.0.1:${agent.openPorts.admin}${path}`)).text()
    const whole = { agent, node, log: agentLog, page }
    agents.push(whole)
    return whole
  }

  mkdirSync(trustFolder)
  await startController()
  await mount()
  return {
    get authority() {
      return running!.authority.open!.authority
    },
    turn: (ms) => clock.tick(ms),
    asked,
    agents,
    startAgent,
    agentArguments,
    agentAccount: `${namespace}/weft-agent`,
    folder,
    addCaller(node, account) {
      const address = `${net}.${10 + callers.size}`
      callers.set(address, { node, account })
      publish()
      return address
    },
    removeCaller(address) {
      callers.delete(address)
      publish()
    },
    entry: { host: addresses['node1']!, port: 16384 },
    mount,
    async crash() {
      await stopController()
      await startController()
    },
    stopController,
    startController,
    async stop() {
      for (const { agent } of agents) await agent.stop()
      await stopController()
      web.closeAllConnections()
      web.close()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

async function startWeb(
  address: string,
  handler: (request: IncomingMessage, response: ServerResponse) => void,
): Promise<HttpServer> {
  const web = createServer(handler)
  await new Promise<void>((resolve) => web.listen(0, address, resolve))
  return web
}
