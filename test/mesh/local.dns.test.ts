// Local mode's names, asked over DNS and by a process as a pod has it.

import { execFile } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect } from 'chai'
import * as packet from 'dns-packet'
import { type DnsServer, startDns } from '../../scripts/local/dns.ts'
import { root } from '../../scripts/local/environment.ts'
import { planAddresses } from '../../scripts/local/nodes.ts'
import type { Pod, Service } from '../../scripts/local/objects.ts'
import { type LocalApi, startLocalApi } from '../support/localapi.ts'

const offset = 8
const run = promisify(execFile)

describe('mesh: local names', () => {
  const plan = planAddresses(2, offset)
  let api: LocalApi
  let dns: DnsServer

  before(async () => {
    api = await startLocalApi({ serviceCidr: plan.serviceCidr })
    dns = await startDns({ cluster: api.cluster, address: plan.dnsAddress, port: 0, nodeOf: plan.nodeOf })
    api.cluster.create('namespaces', { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'shop' } })
    service('shop', 'reviews', { ports: [{ port: 9080 }] })
    service('default', 'weft', { ports: [{ port: 9080 }] })
    service('shop', 'reviews-mesh', { type: 'ExternalName', externalName: 'weft.default.svc.cluster.local' })
    service('shop', 'ring', { type: 'ExternalName', externalName: 'ring.shop.svc.cluster.local' })
    service('shop', 'peers', { clusterIP: 'None', ports: [{ port: 9080 }] })
    api.cluster.create('endpointslices', {
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      metadata: { name: 'peers', namespace: 'shop', labels: { 'kubernetes.io/service-name': 'peers' } },
      addressType: 'IPv4',
      endpoints: [
        { addresses: ['127.52.1.2'], conditions: { ready: true } },
        { addresses: ['127.52.2.2'], conditions: { ready: true } },
        { addresses: ['127.52.2.3'], conditions: { ready: false } },
      ],
    })
  })
  after(async () => {
    await dns.close()
    await api.close()
  })

  function service(namespace: string, name: string, spec: object): void {
    api.cluster.create('services', { apiVersion: 'v1', kind: 'Service', metadata: { name, namespace }, spec })
  }

  function addressOf(namespace: string, name: string): string {
    return api.cluster.get<Service>('services', namespace, name)!.spec.clusterIP!
  }

  async function query(name: string, from: string, type: 'A' | 'AAAA' = 'A'): Promise<packet.Packet> {
    const socket = createSocket('udp4').bind(0, from)
    const [host, port] = dns.address.split(':')
    socket.send(packet.encode({ type: 'query', id: 7, questions: [{ type, name }] }), Number(port), host)
    const [message] = (await once(socket, 'message')) as [Buffer]
    socket.close()
    return packet.decode(message)
  }

  const dataOf = ({ answers = [] }: packet.Packet) =>
    answers.map((answer) => ('data' in answer ? answer.data : undefined))
  const rcodeOf = ({ flags = 0 }: packet.Packet) => flags & 0xf

  it('answers Services, headless ones by their ready endpoints, and follows aliases', async () => {
    const from = '127.52.1.9'
    expect(dataOf(await query('reviews.shop.svc.cluster.local', from))).to.deep.equal([addressOf('shop', 'reviews')])
    expect(dataOf(await query('PEERS.shop.svc.cluster.local', from))).to.deep.equal(['127.52.1.2', '127.52.2.2'])
    expect(dataOf(await query('reviews-mesh.shop.svc.cluster.local', from))).to.deep.equal([
      'weft.default.svc.cluster.local',
      addressOf('default', 'weft'),
    ])
    expect(dataOf(await query('reviews.shop.svc.cluster.local', from, 'AAAA'))).to.deep.equal([])
    expect(dataOf(await query('ring.shop.svc.cluster.local', from))).to.have.lengthOf.at.most(10)
  })

  it('says NXDOMAIN for what is not there, and REFUSED for the rest of the world', async () => {
    expect(rcodeOf(await query('nobody.shop.svc.cluster.local', '127.52.1.9'))).to.equal(3)
    expect(rcodeOf(await query('example.com', '127.52.1.9'))).to.equal(5)
  })

  it("forwards the mesh domain to the agent of the asker's node, and fails without one", async () => {
    expect(rcodeOf(await query('reviews.shop.mesh.internal', '127.52.2.9'))).to.equal(2)
    const agents = ['node1', 'node2'].map((node, i) => {
      const address = `127.52.${i + 1}.5`
      const labels = { 'app.kubernetes.io/name': 'weft-agent' }
      const spec = { nodeName: node, containers: [{ name: 'agent', image: 'x' }] }
      const metadata = { name: `agent-${node}`, namespace: 'default', labels }
      api.cluster.create('pods', { apiVersion: 'v1', kind: 'Pod', metadata, spec })
      const pod = api.cluster.get<Pod>('pods', 'default', metadata.name)!
      const status = { phase: 'Running', podIP: address, conditions: [{ type: 'Ready', status: 'True' }] } as const
      api.cluster.setStatus('pods', { ...pod, status: { ...status, conditions: [...status.conditions] } })
      const socket = createSocket('udp4').bind(15_053, address)
      socket.on('message', (message, { port, address: asker }) => {
        const { id = 0, questions = [] } = packet.decode(message)
        const answers = [{ type: 'A' as const, name: questions[0]!.name, data: address, ttl: 5 }]
        socket.send(packet.encode({ type: 'response', id, questions, answers }), port, asker)
      })
      return socket
    })
    await Promise.all(agents.map((agent) => once(agent, 'listening')))
    expect(dataOf(await query('reviews.shop.mesh.internal', '127.52.2.9'))).to.deep.equal(['127.52.2.5'])
    expect(dataOf(await query('reviews.shop.mesh.internal', '127.52.1.9'))).to.deep.equal(['127.52.1.5'])
    for (const agent of agents) agent.close()
  })

  describe('in a pod', () => {
    async function inPod(script: string): Promise<string> {
      const { stdout } = await run(process.execPath, ['--input-type=module', '-e', script], {
        env: {
          NODE_OPTIONS: `--import=${join(root, 'scripts/local/names.ts')}`,
          LOCAL_POD_ADDRESS: '127.52.1.7',
          LOCAL_POD_NAMESPACE: 'shop',
          LOCAL_DNS_SERVER: dns.address,
        },
      })
      return stdout.trim()
    }

    it('looks names up with the search domains of its namespace', async () => {
      const script = `
        import dns, { lookup } from 'node:dns'
        import { promisify } from 'node:util'
        const names = ['reviews', 'reviews.shop', 'reviews.shop.svc', 'reviews.shop.svc.cluster.local', 'reviews-mesh', 'weft.default']
        const found = await Promise.all(names.map((name) => dns.promises.lookup(name)))
        const all = await promisify(lookup)('peers', { all: true })
        const missing = await promisify(lookup)('nobody').catch((error) => error.code)
        console.log(JSON.stringify([...found.map(({ address }) => address), all.map(({ address }) => address), missing]))`
      const reviews = addressOf('shop', 'reviews')
      const weft = addressOf('default', 'weft')
      expect(JSON.parse(await inPod(script))).to.deep.equal([
        reviews,
        reviews,
        reviews,
        reviews,
        weft,
        weft,
        ['127.52.1.2', '127.52.2.2'],
        'ENOTFOUND',
      ])
    })

    it('calls from its own address, by name too, and listens on it where a pod would on all', async () => {
      const server = createServer((socket) => socket.end(`${socket.remoteAddress}`))
      server.listen(0, '127.52.1.2')
      await once(server, 'listening')
      const { port } = server.address() as { port: number }
      const script = `
        import net from 'node:net'
        import http from 'node:http'
        import { Worker } from 'node:worker_threads'
        import { text } from 'node:stream/consumers'
        import { once } from 'node:events'
        const asked = [{ port: ${port}, host: '127.52.1.2' }, { port: ${port}, host: 'peers' }]
        const seen = await Promise.all(asked.map((options) => text(net.connect(options))))
        seen.push(await text(net.connect(${port}, '127.52.1.2')))
        const [fromWorker] = await once(new Worker(\`
          import net from 'node:net'
          import { parentPort } from 'node:worker_threads'
          net.connect(${port}, '127.52.1.2').on('data', (data) => parentPort.postMessage(String(data)))
        \`, { eval: true }), 'message')
        seen.push(fromWorker)
        const hosts = [undefined, '0.0.0.0', '127.0.0.1', '127.52.1.8']
        for (const host of hosts) {
          const server = http.createServer().listen({ port: 0, host })
          await once(server, 'listening')
          seen.push(server.address().address)
          server.close()
        }
        const plain = net.createServer().listen(0)
        await once(plain, 'listening')
        seen.push(plain.address().address)
        plain.close()
        console.log(JSON.stringify(seen))`
      const own = '127.52.1.7'
      // Of the two endpoints behind the name, one has no server: what counts is who asked the other.
      const [first, byName, ...rest] = JSON.parse(await inPod(script).finally(() => server.close())) as string[]
      expect([first, byName]).to.deep.equal([own, own])
      expect(rest).to.deep.equal([own, own, own, own, own, '127.52.1.8', own])
    })
  })
})
