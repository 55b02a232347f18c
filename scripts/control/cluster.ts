// The processes of the benchmark: the API server, the controller, a real agent, and what is known about them.

import { type ChildProcess, fork } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Agent, request } from 'undici'
import { trustConfig } from '../../controller/contract/identity.ts'
import { type Child, launch } from '../bench/process.ts'
import type { LinkPlace } from './agents.ts'
import type { Asked } from './api.ts'
import { tokenOf } from './discovery.ts'
import type { Command, Reply, Request } from './serve.ts'
import { agentPod, type Live, meshNamespace, type Size } from './world.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))

/** The API server's process. */
export interface ApiProcess {
  readonly pid: number
  readonly kubeconfig: string
  /** @returns milliseconds since the epoch when it was done */
  tell(command: Command): Promise<number>
  asked(): Promise<Asked[]>
  /** An object's text, as a client reads it. */
  read(path: string): Promise<string>
  stop(): void
}

/** Starts the API server and fills it. */
export async function startApi(folder: string, size: Size, live: Live): Promise<ApiProcess> {
  const child: ChildProcess = fork(fileURLToPath(new URL('serve.ts', import.meta.url)), { stdio: 'inherit' })
  const waiting = new Map<number, (reply: Reply) => void>()
  let id = 0
  child.on('message', (reply: Reply) => {
    waiting.get(reply.id)?.(reply)
    waiting.delete(reply.id)
  })
  const ask = (command: Command) =>
    new Promise<Reply>((resolve) => {
      waiting.set(++id, resolve)
      child.send({ ...command, id } satisfies Request)
    })
  const { url, certificate } = await ask({ do: 'start', size, live })
  const kubeconfig = join(folder, 'kubeconfig')
  writeFileSync(kubeconfig, kubeconfigOf(url, certificate))
  const dispatcher = new Agent({ connect: { ca: certificate } })
  return {
    pid: child.pid!,
    kubeconfig,
    tell: async (command) => (await ask(command)).at,
    asked: async () => (await ask({ do: 'asked' })).asked,
    read: async (path) => (await request(`${url}${path}`, { dispatcher })).body.text(),
    stop() {
      void dispatcher.destroy()
      child.disconnect()
    },
  }
}

function kubeconfigOf(server: string, certificate: string): string {
  const ca = Buffer.from(certificate).toString('base64')
  return JSON.stringify({
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'bench', cluster: { server, 'certificate-authority-data': ca } }],
    users: [{ name: 'bench', user: { token: 'bench' } }],
    contexts: [{ name: 'bench', context: { cluster: 'bench', user: 'bench' } }],
    'current-context': 'bench',
  })
}

export interface ControllerProcess {
  readonly child: Child
  readonly port: number
  get(path: string): Promise<{ status: number; text: string }>
}

/** Starts the controller as in a cluster; it is not ready yet. */
export function startController(kubeconfig: string, ports: { link: number; stats: number }): ControllerProcess {
  const command = [process.execPath, ...flagsOf('WEFT_BENCH_CONTROLLER_FLAGS'), join(root, 'controller/main.ts')]
  const flags = ['--address', '127.0.0.1', '--port', `${ports.link}`, '--stats-port', `${ports.stats}`]
  const others = ['--admin-port', '0', '--admission-port', '0']
  const child = launch(
    'controller',
    [...command, ...flags, ...others, '--pod', 'weft-controller-0', '--log-level', 'warn'],
    {
      cores: '',
      env: { KUBECONFIG: kubeconfig },
    },
  )
  return {
    child,
    port: ports.link,
    async get(path) {
      const response = await fetch(`http://127.0.0.1:${ports.stats}${path}`)
      return { status: response.status, text: await response.text() }
    },
  }
}

/** Variables of Node itself, as the manifests give them; the image's compiled code is what the first start leaves here. */
function nodeEnv(name: 'agent' | 'controller', folder: string): Record<string, string> {
  const manifest = readFileSync(join(root, `manifests/base/${name}.yaml`), 'utf8')
  const options = /name: NODE_OPTIONS\n\s+value: (.+)/.exec(manifest)?.[1]
  if (options === undefined) throw new Error(`manifests/base/${name}.yaml sets no NODE_OPTIONS`)
  return { NODE_COMPILE_CACHE: join(folder, 'compiled'), NODE_OPTIONS: options }
}

/** Flags for Node itself, to profile what is measured. */
function flagsOf(variable: string): string[] {
  return (process.env[variable] ?? '').split(' ').filter(Boolean)
}

/** Resolves when the controller serves agents. @returns milliseconds that it took */
export async function untilReady(controller: ControllerProcess, limitMs = 120_000): Promise<number> {
  const startedAt = performance.now()
  const { child } = controller
  let hasEnded = false
  void child.exited.then(() => {
    hasEnded = true
  })
  const isReady = async () => {
    if (hasEnded) throw new Error('it ended')
    return (await controller.get('/readyz').catch(() => null))?.status === 200
  }
  await until(isReady, 'the controller', limitMs).catch(async (error: Error) => {
    const said = await controller.get('/readyz').catch(() => ({ text: 'no answer' }))
    throw new Error(`${error.message}: ${said.text}\n${child.printed().slice(-1000)}${child.complaints()}`)
  })
  return performance.now() - startedAt
}

/** Waits for a condition. @throws Error naming what was waited for */
export async function until(isTrue: () => boolean | Promise<boolean>, what: string, limitMs = 60_000): Promise<void> {
  const deadline = performance.now() + limitMs
  while (!(await isTrue())) {
    if (performance.now() > deadline) throw new Error(`waited ${limitMs} ms in vain for ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

/** What the link's clients need. */
export async function linkPlace(api: ApiProcess, port: number): Promise<LinkPlace> {
  return { port, ca: (await trustOf(api))[trustConfig.bundle]! }
}

async function trustOf(api: ApiProcess): Promise<Record<string, string>> {
  const text = await api.read(`/api/v1/namespaces/${meshNamespace}/configmaps/weft-trust`)
  return (JSON.parse(text) as { data: Record<string, string> }).data
}

/** A free port of loopback. */
export async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}

/** What stands behind the Service `live/web`. */
export async function startWeb(address: string): Promise<{ port: number; server: Server }> {
  const server = createServer((_request, response) => response.end('hello'))
  server.keepAliveTimeout = 60_000
  await new Promise<void>((resolve) => server.listen(0, address, resolve))
  return { port: (server.address() as AddressInfo).port, server }
}

export interface AgentFiles {
  trustFolder: string
  tokenFile: string
  stateFolder: string
}

/** What an agent's pod mounts. */
export async function mount(api: ApiProcess, folder: string, node: number): Promise<AgentFiles> {
  const files = {
    trustFolder: join(folder, 'trust'),
    tokenFile: join(folder, `token-${node}`),
    stateFolder: join(folder, `state-${node}`),
  }
  mkdirSync(files.trustFolder, { recursive: true })
  mkdirSync(files.stateFolder, { recursive: true })
  for (const [name, text] of Object.entries(await trustOf(api))) writeFileSync(join(files.trustFolder, name), text)
  writeFileSync(files.tokenFile, tokenOf(agentPod(node)))
  return files
}

/** Starts the real agent of node 0 with one data thread. */
export function startAgent(address: string, port: number, files: AgentFiles): Child {
  const { trustFolder, tokenFile, stateFolder } = files
  const flags = ['--node', 'node-0', '--pod', agentPod(0), '--address', address, '--admin-address', address]
  const link = ['--controller', `https://127.0.0.1:${port}`, '--token-file', tokenFile, '--trust-dir', trustFolder]
  const more = ['--state-dir', stateFolder, '--data-threads', '1', '--log-level', 'warn']
  const command = [process.execPath, ...flagsOf('WEFT_BENCH_AGENT_FLAGS'), join(root, 'agent/main.ts')]
  return launch('agent', [...command, ...flags, ...link, ...more, '--drain-minimum', '0s', '--drain-quiet', '0s'], {
    cores: '',
    env: nodeEnv('agent', dirname(trustFolder)),
  })
}

/** Peak of a process's resident memory in bytes. */
export function peakBytes(pid: number): number {
  return Number(/^VmHWM:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1] ?? 0) * 1024
}
