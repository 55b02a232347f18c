// The agent itself, as it runs in a cluster, with a stand-in for the controller.

import { existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { EndpointSpec, Resource } from '../../../controller/contract/resources.ts'
import { type Child, launch, listening } from '../process.ts'
import { type Contender, hostOf, type Setting, type Target } from '../setting.ts'
import { startStandin } from '../standin.ts'

const script = fileURLToPath(new URL('../../../agent/main.ts', import.meta.url))
const meshPort = 16384
let started = 0

export const weft: Contender = {
  name: 'weft',
  find: () => (existsSync(script) ? { version: 'weft (this tree)' } : { missing: 'agent/main.ts is not there' }),
  async start(setting) {
    // A second agent of this or another run must find its ports free, so each has a loopback address of its own.
    const address = `127.${64 + ((process.pid >> 8) & 63)}.${process.pid & 255}.${1 + (started++ % 250)}`
    const directory = join(setting.directory, `weft-${started}`)
    mkdirSync(directory)
    const standin = await startStandin(resources(setting))
    const flags = ['--node', 'node1', '--pod', 'weft-agent-1', '--address', address, '--controller', standin.url]
    const options = [
      '--state-dir',
      directory,
      '--data-threads',
      `${setting.threads}`,
      '--log-level',
      'error',
      '--drain-minimum',
      '0s',
      '--drain-quiet',
      '0s',
    ]
    const log = setting.observed ? ['--access-log'] : []
    const child = launch('weft', [process.execPath, script, ...flags, ...options, ...log], {
      cores: setting.cores,
      output: join(directory, 'access.log'),
    })
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
  },
}

async function ready(child: Child, address: string): Promise<void> {
  const deadline = Date.now() + 20_000
  for (;;) {
    const status = await fetch(`http://${address}:15020/readyz`).then(
      (response) => response.status,
      () => 0,
    )
    if (status === 200) return
    if (Date.now() > deadline) throw new Error(`weft is not ready: /readyz answers ${status}: ${child.complaints()}`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

/** What a controller would say of the setting: the load and the origin are pods of this node, each service leads to the origin. */
function resources(setting: Setting): Resource[] {
  const all: Resource[] = [
    {
      kind: 'mesh',
      name: 'mesh',
      trustDomain: 'cluster.local',
      clusterDomain: 'cluster.local',
      meshDomain: 'mesh.internal',
      aliasSuffix: '-mesh',
      address: '',
      defaultAccess: 'allow',
    },
    { kind: 'port', name: `${meshPort}`, port: 80, service: null },
    pod('load', '127.0.0.1'),
    pod('origin', setting.origin.address),
  ]
  for (let index = 0; index < setting.services; index++) {
    const name = `bench/${hostOf(index).split('-')[0]}`
    const ports = [{ number: 80, name: 'http', protocol: 'http' as const, splits: [] }]
    all.push({ kind: 'service', name, uid: `service-${index}`, enrolled: true, address: '', ports, policy: {} })
    all.push({ kind: 'endpoints', name: `${name}:80`, endpoints: [endpoint(setting.origin)] })
  }
  return all
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

function endpoint({ address, port }: Target): EndpointSpec {
  return {
    address,
    port,
    node: 'node1',
    pod: 'bench/origin-1',
    podUid: 'pod-origin',
    account: 'bench/origin',
    workload: 'origin',
  }
}
