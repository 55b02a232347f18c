// The agent itself, as it runs in a cluster, with a stand-in for the controller; and two of them, with the tunnel between.

import { existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { EndpointSpec, Resource } from '../../../controller/contract/resources.ts'
import { type Child, launch, listening } from '../process.ts'
import { type Contender, hostOf, type Running, type Setting, type Target } from '../setting.ts'
import { makeSigner, type Signer } from '../signer.ts'
import { meshResource, startStandin } from '../standin.ts'

const script = fileURLToPath(new URL('../../../agent/main.ts', import.meta.url))
const meshPort = 16384
const trustDomain = 'cluster.local'
let started = 0

/** An agent of a second run, or the second of this one, must find its ports free: each has an address of its own. */
function ownAddress(): string {
  return `127.${64 + ((process.pid >> 8) & 63)}.${process.pid & 255}.${1 + (started++ % 250)}`
}

export const weft: Contender = {
  name: 'weft',
  find: () => (existsSync(script) ? { version: 'weft (this tree)' } : { missing: 'agent/main.ts is not there' }),
  start(setting) {
    const pods = [pod('load', '127.0.0.1'), pod('origin', setting.origin.address)]
    const resources = [...shared(setting, 'node1'), ...pods]
    return startAgent(setting, 'node1', ownAddress(), resources, null)
  },
  async startPair(setting) {
    const signer = makeSigner(setting.directory, trustDomain)
    const [near, far] = [ownAddress(), ownAddress()]
    const peers = [peer('node1', near), peer('node2', far)]
    const common = [...shared(setting, 'node2'), ...peers]
    const agents: Running[] = []
    const stop = async () => {
      await Promise.all(agents.map((agent) => agent.stop()))
    }
    try {
      agents.push(await startAgent(setting, 'node2', far, [...common, pod('origin', setting.origin.address)], signer))
      agents.push(await startAgent(setting, 'node1', near, [...common, pod('load', '127.0.0.1')], signer))
      await answers(near)
    } catch (error) {
      await stop()
      throw error
    }
    return { address: near, port: meshPort, children: agents.flatMap(({ children }) => children), stop }
  },
}

async function startAgent(
  setting: Setting,
  node: string,
  address: string,
  resources: Resource[],
  signer: Signer | null,
): Promise<Running> {
  const directory = join(setting.directory, `weft-${node}`)
  mkdirSync(directory)
  const standin = await startStandin(resources, signer)
  const flags = ['--node', node, '--pod', `weft-agent-${node}`, '--address', address, '--controller', standin.url]
  const own = ['--state-dir', directory, '--data-threads', `${setting.threads}`, '--admin-address', address]
  const options = ['--log-level', 'error', '--drain-minimum', '0s', '--drain-quiet', '0s']
  const identity = signer === null ? [] : ['--trust-dir', signer.trustFolder, '--token-file', signer.tokenFile]
  const log = setting.observed ? ['--access-log'] : []
  const command = [process.execPath, script, ...flags, ...own, ...options, ...identity, ...log]
  const child = launch(`weft on ${node}`, command, { cores: setting.cores, output: join(directory, 'access.log') })
  const stop = async () => {
    await child.stop()
    await standin.stop()
  }
  try {
    await listening(child, address, meshPort)
    await ready(child, address)
  } catch (error) {
    await stop()
    throw error
  }
  return { address, port: meshPort, children: [child], stop }
}

async function ready(child: Child, address: string): Promise<void> {
  await until(async () => {
    const response = await fetch(`http://${address}:15020/readyz`).catch(() => null)
    if (response?.status === 200) return ''
    return `weft is not ready: ${response === null ? 'no answer' : await response.text()} ${child.complaints()}`
  })
}

/** Certificates are asked for and tunnels opened at the first request. */
async function answers(address: string): Promise<void> {
  const { request } = await import('undici')
  const headers = { host: hostOf(0) }
  await until(async () => {
    const response = await request(`http://${address}:${meshPort}/`, { headers }).catch((error: Error) => error)
    if (response instanceof Error) return response.message
    const text = await response.body.text()
    return response.statusCode === 200 ? '' : `the tunnel answers ${response.statusCode} ${text}`
  })
}

/** @param trouble empty when all is well */
async function until(trouble: () => Promise<string>): Promise<void> {
  const deadline = Date.now() + 20_000
  for (;;) {
    const found = await trouble()
    if (found === '') return
    if (Date.now() > deadline) throw new Error(found)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

/** What a controller would say of the setting to every agent: each service leads to the origin, which runs on a node. */
function shared(setting: Setting, node: string): Resource[] {
  const all: Resource[] = [meshResource(trustDomain), { kind: 'port', name: `${meshPort}`, port: 80, service: null }]
  for (let index = 0; index < setting.services; index++) {
    const name = `bench/${hostOf(index).split('-')[0]}`
    const ports = [{ number: 80, name: 'http', protocol: 'http' as const, splits: [] }]
    all.push({ kind: 'service', name, uid: `service-${index}`, enrolled: true, address: '', ports, policy: {} })
    all.push({ kind: 'endpoints', name: `${name}:80`, endpoints: [endpoint(setting.origin, node)] })
  }
  return all
}

function peer(name: string, address: string): Resource {
  return { kind: 'peer', name, address, port: 15008 }
}

function pod(name: string, address: string): Resource {
  return {
    kind: 'workload',
    name: `pod-${name}`,
    pod: `bench/${name}-1`,
    address,
    account: `bench/${name}`,
    workload: name,
    live: true,
    startedAt: 1,
  }
}

function endpoint({ address, port }: Target, node: string): EndpointSpec {
  return {
    address,
    port,
    node,
    pod: 'bench/origin-1',
    podUid: 'pod-origin',
    account: 'bench/origin',
    workload: 'origin',
  }
}
