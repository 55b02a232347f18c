// The data path on IPv6: agents, their callers and the pods on ::1. Loopback has no other IPv6 address, and what a caller is
// goes by its address, so each agent listens on all of them (`--address ::`) at ports of its own, knows ::1 as the pod of
// its own node, and would take neither for itself.

import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server } from 'node:http'
import { type AddressInfo, connect, createServer as createTcp } from 'node:net'
import { expect } from 'chai'
import dns from 'dns-packet'
import { joinPort } from '../../agent/address.ts'
import { type DnsServer, serveDns } from '../../agent/dns/serve.ts'
import type { Resource } from '../../controller/contract/resources.ts'
import { ownNetwork } from '../support/addresses.ts'
import { type AgentUnderTest, startAgent } from '../support/agent.ts'
import { testRoot } from '../support/certificates.ts'
import { agents, client, identities, server } from '../support/pair.ts'
import { QuietLog } from '../support/quiet.ts'
import { RawServer, type RawSocket, rawConnect } from '../support/raw.ts'
import { clean, plain, refusalOf } from '../support/rawmesh.ts'
import { endpoints, mesh, service, spec, workload } from '../support/resources.ts'
import { until } from '../support/until.ts'

/** Ports that nothing on IPv6 has at this moment. */
async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createTcp())
  for (const each of servers) await once(each.listen({ port: 0, host: '::', ipv6Only: true }), 'listening')
  const ports = servers.map((each) => (each.address() as AddressInfo).port)
  await Promise.all(servers.map((each) => once(each.close(), 'close')))
  return ports
}

/** The lines of its access log. */
function linesOf({ messages }: AgentUnderTest): Record<string, unknown>[] {
  const texts = messages.flatMap((message) => (message.type === 'lines' ? message.text.trim().split('\n') : []))
  return texts.map((text) => JSON.parse(text))
}

describe('mesh: IPv6', () => {
  const callers: RawSocket[] = []

  async function call(port: number, address = '::1', from?: string): Promise<RawSocket> {
    const caller = await rawConnect(port, address, from)
    callers.push(caller)
    return caller
  }

  afterEach(() => {
    for (const caller of callers.splice(0)) caller.destroy()
  })

  describe('between two nodes', () => {
    const root = testRoot()
    let near: AgentUnderTest
    let far: AgentUnderTest
    let web: Server
    let echo: RawServer
    let seen: IncomingMessage['headers']
    let ports: { near: number; far: number; dedicated: number; opaque: number; hbone: number }

    const webPort = () => (web.address() as AddressInfo).port

    before(async () => {
      web = createServer((request, response) => {
        seen = request.headers
        response.end('hello')
      })
      await once(web.listen(0, '::1'), 'listening')
      echo = await RawServer.listen('::1')
      echo.each((connection) => connection.socket.pipe(connection.socket))
      const [entry, otherEntry, nearPort, farPort, dedicated, opaque, hbone, otherHbone] = await freePorts(8)
      ports = { near: nearPort!, far: farPort!, dedicated: dedicated!, opaque: opaque!, hbone: hbone! }
      const listed = service('shop/web', {
        ports: [
          { number: 80, name: 'http', protocol: 'http', splits: [] },
          { number: 6379, name: 'tcp', protocol: 'tcp', splits: [] },
        ],
      })
      const pod = { node: 'node2', account: server, pod: 'shop/web-1', podUid: 'uid-::1' }
      const shared: Resource[] = [
        { ...mesh, address: 'fd00:96::20' },
        listed,
        endpoints('shop/web:80', spec('::1', { ...pod, port: webPort() })),
        endpoints('shop/web:6379', spec('::1', { ...pod, port: echo.port })),
        { kind: 'peer', name: 'node2', address: '::1', port: hbone! },
        workload('::', { account: agents, pod: 'weft-system/weft-agent' }),
      ]
      near = await startAgent({
        ...{ address: '::', node: 'node1', meshPort: nearPort! },
        flags: ['--entry-port', `${entry}`, '--hbone-port', `${otherHbone}`, '--access-log'],
        identities: identities(root, agents, client),
        resources: [
          ...shared,
          { kind: 'port', name: `${dedicated}`, port: 80, service: { name: listed.name, uid: listed.uid } },
          { kind: 'port', name: `${opaque}`, port: 6379, service: { name: listed.name, uid: listed.uid } },
          workload('::1', { account: client, pod: 'shop/client-1' }),
        ],
      })
      far = await startAgent({
        ...{ address: '::', node: 'node2', meshPort: farPort! },
        flags: ['--entry-port', `${otherEntry}`, '--hbone-port', `${hbone}`],
        identities: identities(root, agents, server),
        resources: [...shared, workload('::1', { account: server, pod: 'shop/web-1' })],
      })
    })

    after(async () => {
      for (const each of [near, far]) {
        await clean(each)
        await each.stop()
      }
      web.closeAllConnections()
      await once(web.close(), 'close')
      await echo.stop()
    })

    async function get(port: number, host: string): Promise<string> {
      const caller = await call(port)
      return caller.send(`GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`).readMessage()
    }

    it('carries a request from ::1 to ::1 through the tunnel, and says who called from where', async () => {
      const response = await get(ports.near, 'web-mesh.shop')
      expect(plain(response)).to.match(/^HTTP\/1\.1 200 OK\r\n.*hello$/s)
      expect(seen).to.include({
        host: 'web-mesh.shop',
        'x-forwarded-for': '::1',
        'x-forwarded-client-cert':
          'By=spiffe://cluster.local/ns/shop/sa/web;URI=spiffe://cluster.local/ns/shop/sa/client',
      })
      const sessions = far.thread.inbound.accepted
      expect(sessions, 'streams that came in by the tunnel').to.be.greaterThan(0)
    })

    it('writes addresses into the access log, with brackets where a port follows', async () => {
      await get(ports.near, 'web-mesh.shop')
      await until(() => linesOf(near).length > 0, 'a line')
      const [line] = linesOf(near)
      expect(line).to.include({ 'src.addr': '::1', 'src.workload': 'client-1', 'dst.addr': joinPort('::1', webPort()) })
      expect(near.thread.hop.report()).to.deep.include({
        endpoint: `[::1]:${webPort()}`,
        ...{ backend: 'shop/web:80', open: 1, idle: 1, inFlight: 0 },
      })
    })

    it('takes an address for a Host: no route where the Host decides, forwarded as it is where the port does', async () => {
      for (const host of ['[::1]', `[::1]:${ports.near}`, '[FD00::3]:80']) {
        expect(refusalOf(await get(ports.near, host)), host).to.equal('404 no_route')
        expect(await get(ports.dedicated, host)).to.match(/^HTTP\/1\.1 200 OK\r\n/)
        expect(seen.host).to.equal(host.toLowerCase())
      }
      for (const host of ['::1', '[::1', '[::1].:80', '[fe80::1%eth0]']) {
        expect(refusalOf(await get(ports.near, host)), host).to.equal('400 bad_request')
      }
    })

    it('carries opaque bytes', async () => {
      const caller = await call(ports.opaque)
      caller.send('ping')
      expect(await caller.read(4)).to.equal('ping')
      caller.end()
      await caller.gone()
    })

    it('enforces access rules on the identity behind an IPv6 address', async () => {
      const rule = { name: 'shop/only', sources: ['shop/other'], ports: null, http: null }
      await far.apply({ kind: 'access', name: server, rules: [rule] })
      expect(refusalOf(await get(ports.near, 'web-mesh.shop'))).to.equal('403 denied')
      await far.apply({ kind: 'access', name: server, rules: [{ ...rule, sources: [client], ports: [webPort()] }] })
      expect(await get(ports.near, 'web-mesh.shop')).to.match(/^HTTP\/1\.1 200 OK\r\n/)
      await far.remove({ kind: 'access', name: server, gone: true })
    })

    it('says in its errors which endpoint of which family could not be reached', async () => {
      const [closed] = await freePorts(1)
      const pod = { node: 'node2', account: server, pod: 'shop/web-1', podUid: 'uid-::1' }
      await near.apply(endpoints('shop/web:80', spec('::1', { ...pod, port: closed! })))
      expect(refusalOf(await get(ports.near, 'web-mesh.shop'))).to.equal('502 connect_failed')
      await near.apply(endpoints('shop/web:80', spec('::1', { ...pod, port: webPort() })))
    })
  })

  describe('beside IPv4', () => {
    it('attributes both addresses of a pod to it, and takes its own for a loop', async () => {
      const net = ownNetwork()
      const upstream = await RawServer.listen()
      upstream.answerAll('HTTP/1.1 200 OK\r\nDate: today\r\nContent-Length: 2\r\n\r\nok')
      const [entry, meshPort] = await freePorts(2)
      const listening = async (second: string) =>
        startAgent({
          ...{ address: `${net}.1,${second}`, meshPort: meshPort! },
          flags: ['--entry-port', `${entry}`, '--access-log'],
          resources: [
            service('shop/web'),
            endpoints('shop/web:80', spec('127.0.0.1', { port: upstream.port })),
            workload(`${net}.9`, { secondAddress: '::1', account: 'shop/dual', pod: 'shop/dual-1' }),
          ],
        })
      const get = 'GET / HTTP/1.1\r\nHost: web-mesh.shop\r\n\r\n'

      let agent = await listening('::')
      for (const [address, from] of [
        [`${net}.1`, `${net}.9`],
        ['::1', '::1'],
      ] as const) {
        const caller = await call(meshPort!, address, from)
        expect(await caller.send(get).readMessage()).to.match(/^HTTP\/1\.1 200 OK/)
        expect(upstream.received).to.include(`x-forwarded-for: ${from}\r\n`)
        caller.destroy()
      }
      await until(() => linesOf(agent).length === 2, 'the lines of both requests')
      expect(linesOf(agent).map((line) => [line['src.addr'], line['src.workload']])).to.deep.equal([
        [`${net}.9`, 'dual-1'],
        ['::1', 'dual-1'],
      ])
      await clean(agent)
      await agent.stop()

      agent = await listening('::1')
      const own = await call(meshPort!, '::1', '::1')
      expect(refusalOf(await own.send(get).readMessage())).to.equal('508 loop')
      await agent.stop()
      await upstream.stop()
    })
  })

  it('opens a port on all of its addresses or on none, and says why', async () => {
    const taken = await RawServer.listen('::1')
    const address = `${ownNetwork()}.1`
    const [entry] = await freePorts(1)
    const options = { address: `${address},::1`, meshPort: taken.port, flags: ['--entry-port', `${entry}`] }
    const refusal = await startAgent({ ...options, resources: [] }).then(
      () => '',
      (error: Error) => error.message,
    )
    expect(refusal).to.match(
      new RegExp(`can't listen: \\[{"port":${taken.port},"message":".*EADDRINUSE.*::1:${taken.port}"}\\]$`),
    )
    const caller = connect({ host: address, port: taken.port })
    const [error] = (await once(caller, 'error')) as [NodeJS.ErrnoException]
    expect(error.code, 'on IPv4').to.equal('ECONNREFUSED')
    await taken.stop()
  })

  describe('DNS', () => {
    let dnsServer: DnsServer
    const zone = {
      domain: 'mesh.internal',
      addresses: () => ['10.96.0.20', 'fd00:96::20'],
      hasNamespace: () => true,
      shared: [],
      ports: () => new Map<string, number>(),
      nameOf: () => null,
    }
    const query = dns.encode({
      ...{ type: 'query', id: 7 },
      questions: [{ name: 'web.shop.mesh.internal', type: 'AAAA', class: 'IN' }],
    })
    const expected = { type: 'AAAA', name: 'web.shop.mesh.internal', data: 'fd00:96::20' }

    before(async () => {
      dnsServer = await serveDns({ address: '::1', port: 0, zone: () => zone, log: new QuietLog() })
    })
    after(() => dnsServer.close())

    it('answers by UDP', async () => {
      const socket = createSocket('udp6')
      socket.send(query, dnsServer.port, '::1')
      const [answer] = (await once(socket, 'message')) as [Buffer]
      socket.close()
      expect(dns.decode(answer).answers![0]).to.include(expected)
    })

    it('answers by TCP', async () => {
      const socket = connect({ host: '::1', port: dnsServer.port })
      const length = Buffer.alloc(2)
      length.writeUInt16BE(query.length)
      socket.write(Buffer.concat([length, query]))
      const [answer] = (await once(socket, 'data')) as [Buffer]
      socket.destroy()
      expect(dns.decode(answer.subarray(2)).answers![0]).to.include(expected)
    })
  })
})
