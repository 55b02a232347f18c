// A transmitter behind a real server, with the pods that it may believe to be agents, for tests of single behaviours.

import { createHash } from 'node:crypto'
import { request } from 'node:http'
import type { Socket } from 'node:net'
import { pino } from 'pino'
import { systemClock } from '../../controller/clock.ts'
import type { Report } from '../../controller/contract/messages.ts'
import type { Resource } from '../../controller/contract/resources.ts'
import { emptyWorld, type World } from '../../controller/observe/world.ts'
import { defaultSettings } from '../../controller/resolve/settings.ts'
import { type Server, startServer } from '../../controller/serve.ts'
import type { Encoded } from '../../controller/translate/translate.ts'
import { checkClaim } from '../../controller/transmit/authenticate.ts'
import { openTransmitter, type Transmitter } from '../../controller/transmit/transmitter.ts'
import { type AgentLink, openLink } from './agentlink.ts'

/** A resource as `translate` hands it over. */
export function encoded(resource: Resource): Encoded {
  const text = JSON.stringify(resource)
  return { resource, text, hash: createHash('sha256').update(text).digest('hex') }
}

/** A resource of all agents. */
export function peer(name: string, address = '10.0.0.1'): Encoded {
  return encoded({ kind: 'peer', name, address, port: 15008 })
}

/** A resource of one node's agent. */
export function workload(name: string): Encoded {
  const rest = { address: '10.0.1.1', account: 'shop/default', workload: '', live: true, startedAt: 1 }
  return encoded({ kind: 'workload', name, pod: `shop/${name}`, ...rest })
}

function agentPod(name: string, node: string, more: { labels?: Record<string, string>; phase?: 'Failed' } = {}) {
  const { labels = { 'app.kubernetes.io/name': 'weft-agent' }, phase = 'Running' as const } = more
  return {
    apiVersion: 'v1',
    kind: 'Pod' as const,
    metadata: { name, namespace: 'weft-system', uid: `uid-${name}`, resourceVersion: '1', labels },
    spec: { nodeName: node },
    status: { phase, podIP: '10.0.0.9' },
  }
}

/** `agent-<n>` on `node<n>`, of which the third has ended; and `other`, which is no agent. */
export const agentWorld: World = {
  ...emptyWorld,
  pods: new Map(
    [
      agentPod('agent-3', 'node3', { phase: 'Failed' }),
      agentPod('other', 'node1', { labels: {} }),
      ...[1, 2, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19].map((index) => agentPod(`agent-${index}`, `node${index}`)),
    ].map((pod) => [`weft-system/${pod.metadata.name}`, pod]),
  ),
}

export class TransmitterBench {
  readonly links: AgentLink[] = []
  readonly sockets: Socket[] = []
  readonly reports: Report[] = []
  readonly transmitter: Transmitter = openTransmitter({
    clock: systemClock,
    log: pino({ level: 'silent' }),
    controller: 'controller-1',
    authenticate: async (_request, claim) => checkClaim(agentWorld, defaultSettings, claim),
    reported: (each) => this.reports.push(each),
  })
  server!: Server

  async start(): Promise<void> {
    this.server = await startServer('127.0.0.1', 0, [this.transmitter.handle])
  }

  async stop(): Promise<void> {
    for (const link of this.links) link.close()
    for (const socket of this.sockets) socket.destroy()
    await this.transmitter.close()
    await this.server.close(100)
  }

  async open(node: string, pod: string, more: object = {}, options: { gzip?: boolean } = {}): Promise<AgentLink> {
    const link = await openLink(this.server.port, { node, pod, ...more }, options)
    this.links.push(link)
    return link
  }

  /** Posts a report, or what is none. */
  async report(body: unknown): Promise<{ status: number; text: string }> {
    const target = { host: '127.0.0.1', port: this.server.port, path: '/v1/report', method: 'POST' }
    return new Promise((resolve, reject) => {
      const made = request(target, async (response) => {
        const text = Buffer.concat(await response.toArray()).toString()
        resolve({ status: response.statusCode!, text })
      })
      made.on('error', reject)
      made.end(typeof body === 'string' ? body : JSON.stringify(body))
    })
  }
}
