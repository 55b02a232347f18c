// The stand-in for kube-proxy, on real sockets between loopback addresses.

import { once } from 'node:events'
import net from 'node:net'
import { text } from 'node:stream/consumers'
import { expect } from 'chai'
import type { Cluster } from '../../scripts/local/cluster.ts'
import { planAddresses } from '../../scripts/local/nodes.ts'
import type { EndpointSlice, Service } from '../../scripts/local/objects.ts'
import { type KubeProxy, type ProxyOptions, startProxy } from '../../scripts/local/proxy.ts'
import { type LocalApi, startLocalApi } from '../support/localapi.ts'
import { until } from '../support/until.ts'

interface Endpoint {
  address: string
  node: string
  ready?: boolean
  terminating?: boolean
}

const offset = 7
const pods = `127.${44 + offset}`

describe('mesh: local kube-proxy', () => {
  const plan = planAddresses(2, offset)
  let api: LocalApi
  let cluster: Cluster
  let proxy: KubeProxy
  const servers: net.Server[] = []
  const accepted: net.Socket[] = []
  let names = 0

  before(async () => {
    api = await startLocalApi({ serviceCidr: plan.serviceCidr })
    cluster = api.cluster
  })
  afterEach(async () => {
    await proxy.close()
    for (const socket of accepted.splice(0)) socket.destroy()
    for (const server of servers.splice(0)) {
      server.close()
      await once(server, 'close')
    }
  })
  after(() => api.close())

  function start(options: Partial<ProxyOptions> = {}): void {
    proxy = startProxy({ cluster, nodeOf: plan.nodeOf, delayMs: 10, ...options })
  }

  /** A server on a pod's address; all pods of a test share the port of the first. */
  async function pod(address: string, port: number, handle: (socket: net.Socket) => void): Promise<number> {
    const server = net.createServer({ allowHalfOpen: true }, (socket) => {
      accepted.push(socket.on('error', () => {}))
      handle(socket)
    })
    server.listen(port, address)
    await once(server, 'listening')
    servers.push(server)
    return (server.address() as net.AddressInfo).port
  }

  /** A Service with endpoints written by hand; returns its address and the way to change the endpoints. */
  function service(targetPort: number, endpoints: Endpoint[], policy: 'Cluster' | 'Local' = 'Cluster') {
    const name = `service-${++names}`
    const spec = { ports: [{ name: 'main', port: 8080 }], internalTrafficPolicy: policy }
    cluster.create('services', { apiVersion: 'v1', kind: 'Service', metadata: { name, namespace: 'default' }, spec })
    const slice = (list: Endpoint[]) => ({
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      metadata: { name, namespace: 'default', labels: { 'kubernetes.io/service-name': name } },
      addressType: 'IPv4',
      ports: [{ name: 'main', port: targetPort, protocol: 'TCP' }],
      endpoints: list.map(({ address, node, ready = true, terminating = false }) => ({
        addresses: [address],
        nodeName: node,
        conditions: { ready: ready && !terminating, serving: ready, terminating },
      })),
    })
    cluster.create('endpointslices', slice(endpoints))
    const address = cluster.get<Service>('services', 'default', name)!.spec.clusterIP!
    return {
      address,
      change: (list: Endpoint[]) => {
        const old = cluster.get<EndpointSlice>('endpointslices', 'default', name)!
        cluster.update('endpointslices', { ...slice(list), metadata: old.metadata } as unknown as EndpointSlice)
      },
      remove: () => cluster.remove('services', { name, namespace: 'default' }),
    }
  }

  async function listening(address: string): Promise<void> {
    await until(() => proxy.addresses().includes(`${address}:8080`))
  }

  function connect(address: string, from: string): net.Socket {
    const socket = net.connect({ host: address, port: 8080, localAddress: from, allowHalfOpen: true })
    socket.on('error', () => {})
    return socket
  }

  /** What a server says that speaks first and ends; empty when the connection was reset. */
  async function ask(address: string, from: string): Promise<string> {
    const socket = connect(address, from)
    const said = await text(socket).catch(() => '')
    socket.destroy()
    return said
  }

  it("calls the endpoint from the caller's own address", async () => {
    start()
    const port = await pod(`${pods}.1.5`, 0, (socket) => socket.end(`${socket.remoteAddress}`))
    const { address } = service(port, [{ address: `${pods}.1.5`, node: 'node1' }])
    await listening(address)
    expect(await ask(address, `${pods}.2.9`)).to.equal(`${pods}.2.9`)
  })

  it("stays on the caller's node where the Service says so, and resets where that has no endpoint", async () => {
    start()
    const port = await pod(`${pods}.1.5`, 0, (socket) => socket.end('one'))
    await pod(`${pods}.2.5`, port, (socket) => socket.end('two'))
    const [one, two] = ['node1', 'node2'].map((node, i) => ({ address: `${pods}.${i + 1}.5`, node }))
    const { address, change } = service(port, [one!, two!], 'Local')
    await listening(address)
    for (let i = 0; i < 8; i++) expect(await ask(address, `${pods}.2.9`)).to.equal('two')
    for (let i = 0; i < 8; i++) expect(await ask(address, `${pods}.1.9`)).to.equal('one')
    expect(await ask(address, '127.0.0.1'), 'the user counts as the first node').to.equal('one')
    change([one!])
    await until(async () => (await ask(address, `${pods}.2.9`)) === '')
  })

  it('spreads connections over ready endpoints, and takes ending ones only when no other is left', async () => {
    start()
    const port = await pod(`${pods}.1.5`, 0, (socket) => socket.end('one'))
    await pod(`${pods}.2.5`, port, (socket) => socket.end('two'))
    const one = { address: `${pods}.1.5`, node: 'node1' }
    const two = { address: `${pods}.2.5`, node: 'node2' }
    const { address, change } = service(port, [one, two])
    await listening(address)
    const answers = new Set<string>()
    await until(async () => answers.add(await ask(address, `${pods}.1.9`)).size === 2)
    change([{ ...one, terminating: true }, two])
    await until(async () => !(await askMany(address)).has('one'))
    change([
      { ...one, terminating: true },
      { ...two, ready: false },
    ])
    await until(async () => !(await askMany(address)).has('two'))
    expect(await askMany(address)).to.deep.equal(new Set(['one']))
  })

  async function askMany(address: string): Promise<Set<string>> {
    const answers = await Promise.all(Array.from({ length: 16 }, () => ask(address, `${pods}.1.9`)))
    return new Set(answers)
  }

  it('follows a change only after its delay, and leaves open connections alone', async () => {
    const delayMs = 400
    start({ delayMs })
    const echo = (name: string) => (socket: net.Socket) => {
      socket.write(name)
      socket.on('data', (data) => socket.write(data))
      socket.on('end', () => socket.end())
    }
    const port = await pod(`${pods}.1.5`, 0, echo('one'))
    await pod(`${pods}.1.6`, port, echo('two'))
    const { address, change, remove } = service(port, [{ address: `${pods}.1.5`, node: 'node1' }])
    await listening(address)
    const kept = connect(address, `${pods}.1.9`)
    expect(String((await once(kept, 'data'))[0])).to.equal('one')

    const changed = performance.now()
    change([{ address: `${pods}.1.6`, node: 'node1' }])
    const greeting = async () => {
      const socket = connect(address, `${pods}.1.9`)
      const [data] = await once(socket, 'data')
      socket.destroy()
      return String(data)
    }
    expect(await greeting()).to.equal('one')
    await until(async () => (await greeting()) === 'two')
    expect(performance.now() - changed).to.be.at.least(delayMs - 20)

    remove()
    await until(() => !proxy.addresses().includes(`${address}:8080`))
    kept.write('still there')
    expect(String((await once(kept, 'data'))[0])).to.equal('still there')
    kept.destroy()
  })

  it('carries an end in one direction while the other goes on', async () => {
    start()
    const port = await pod(`${pods}.1.5`, 0, (socket) => {
      let received = ''
      socket.on('data', (data) => {
        received += data
      })
      socket.on('end', () => socket.end(`got ${received}`))
    })
    const { address } = service(port, [{ address: `${pods}.1.5`, node: 'node1' }])
    await listening(address)
    const socket = connect(address, `${pods}.1.9`)
    socket.end('all of it')
    expect(await text(socket)).to.equal('got all of it')
  })

  it('passes resets on, both ways', async () => {
    start()
    const codes: string[] = []
    const port = await pod(`${pods}.1.5`, 0, (socket) => {
      socket.on('error', (error: NodeJS.ErrnoException) => codes.push(`server ${error.code}`))
      socket.on('data', (data) => {
        if (String(data) === 'reset me') socket.resetAndDestroy()
        else socket.write('hello')
      })
    })
    const { address } = service(port, [{ address: `${pods}.1.5`, node: 'node1' }])
    await listening(address)
    const first = connect(address, `${pods}.1.9`)
    first.on('error', (error: NodeJS.ErrnoException) => codes.push(`client ${error.code}`))
    first.write('reset me')
    await closed(first)
    const second = connect(address, `${pods}.1.9`)
    second.write('hi')
    await once(second, 'data')
    second.resetAndDestroy()
    await until(() => codes.length === 2)
    expect(codes).to.deep.equal(['client ECONNRESET', 'server ECONNRESET'])
  })

  it('refuses connections where a Service has no endpoint at all', async () => {
    start()
    const port = await pod(`${pods}.1.5`, 0, (socket) => socket.end('one'))
    const { address, change } = service(port, [{ address: `${pods}.1.5`, node: 'node1' }])
    await listening(address)
    change([{ address: `${pods}.1.5`, node: 'node1', ready: false }])
    await until(() => !proxy.addresses().includes(`${address}:8080`))
    const socket = connect(address, `${pods}.1.9`)
    const error = await new Promise<NodeJS.ErrnoException>((resolve) => socket.once('error', resolve))
    expect(error.code).to.equal('ECONNREFUSED')
  })

  it('resets connections to an endpoint that refuses', async () => {
    start()
    const port = await pod(`${pods}.1.5`, 0, (socket) => socket.end())
    const { address } = service(port, [{ address: `${pods}.1.6`, node: 'node1' }])
    await listening(address)
    const socket = connect(address, `${pods}.1.9`)
    expect(await closed(socket)).to.equal(true)
  })

  it('stops reading from a sender whose receiver does not read', async () => {
    start()
    let receiver: net.Socket | undefined
    const port = await pod(`${pods}.1.5`, 0, (socket) => {
      receiver = socket.pause()
    })
    const { address } = service(port, [{ address: `${pods}.1.5`, node: 'node1' }])
    await listening(address)
    const piece = Buffer.alloc(1 << 20)
    const total = 64 * piece.length
    const socket = connect(address, `${pods}.1.9`)
    let sent = 0
    const send = () => {
      if (sent === total) return void socket.end()
      socket.write(piece, () => {
        sent += piece.length
        send()
      })
    }
    send()
    await until(() => receiver !== undefined)
    let before = -1
    // What fits into the kernel's buffers goes; then nothing moves any more.
    await until(async () => {
      const isStill = sent === before
      before = sent
      if (!isStill) await new Promise((resolve) => setTimeout(resolve, 200))
      return isStill
    }, 'the end of all movement')
    expect(sent, 'bytes taken while nobody reads').to.be.below(total)
    let received = 0
    receiver!.on('data', (data) => {
      received += data.length
    })
    receiver!.resume()
    await once(receiver!, 'end')
    expect(received).to.equal(total)
    receiver!.end()
    socket.destroy()
  })

  /** Resolves with whether the socket closed with an error. */
  function closed(socket: net.Socket): Promise<boolean> {
    return new Promise((resolve) => socket.once('close', resolve))
  }
})
