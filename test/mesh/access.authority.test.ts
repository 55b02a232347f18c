// What a peer may ask for: a pod of this node that is of the account whose certificate it was shown, and nothing else,
// however the CONNECT is written (hazards 7.32, 7.57, 7.60).

import { connect as connectTls, type TLSSocket } from 'node:tls'
import { expect } from 'chai'
import { systemClock } from '../../agent/clock.ts'
import { tlsRules } from '../../agent/identity/key.ts'
import { sniLabel } from '../../agent/identity/sni.ts'
import { protocolHeader } from '../../agent/inbound/accept.ts'
import { type Dialer, makeDialer } from '../../agent/tunnel/dial.ts'
import { formatIdentity } from '../../controller/contract/identity.ts'
import { testLeaf } from '../support/certificates.ts'
import { agents, client, type Pair, server, startPair } from '../support/pair.ts'
import { workload } from '../support/resources.ts'
import { listen, open, testCredentials } from '../support/tunnel.ts'
import { until } from '../support/until.ts'

describe('mesh: what peers ask for', () => {
  let pair: Pair
  let dialer: Dialer
  const ending = () => pair.caller.replace(/\d+$/, '21')
  const elsewhere = () => pair.caller.replace(/\d+$/, '22')

  before(async () => {
    pair = await startPair()
    await pair.far.apply(
      workload(ending(), { account: server, pod: 'shop/web-ended', live: false }),
      workload(elsewhere(), { account: 'shop/db', pod: 'shop/db-1' }),
    )
    const credentials = testCredentials(pair.root, client, server, agents)
    dialer = makeDialer({ credentials, clock: systemClock, random: () => 0.5, connectMs: 2_000 })
  })
  after(async () => {
    dialer.close()
    await pair.stop()
  })

  const ask = (authority: string, destination = server, source = client, headers: [string, string][] = []) =>
    open(dialer, { source, destination, address: pair.far.address, port: 15008, authority, headers })

  it('carries what is right', async () => {
    const { wire, error } = await ask(`${pair.endpoint.address}:${pair.pods.far.echoPort}`)
    expect(error).to.equal(null)
    const ear = listen(wire!)
    wire!.writeText('hello')
    await until(() => ear.text === 'hello', 'the echo')
    wire!.reset()
  })

  const games: [what: string, authority: () => string, destination?: string][] = [
    ['a pod of another account', () => `${elsewhere()}:80`],
    ['a pod of another node', () => `${pair.pods.near.address}:${pair.pods.near.port}`],
    ['a pod that has ended', () => `${ending()}:80`],
    ['an address that is no pod', () => '10.99.99.99:80'],
    ["the agent's own entry port", () => `${pair.far.address}:15001`, agents],
    ["the agent's own tunnel port", () => `${pair.far.address}:15008`, agents],
    ["the agent's own metrics", () => `${pair.far.address}:15020`, agents],
    ["the agent's own metrics, under a pod's account", () => `${pair.far.address}:15020`],
    ["the other agent's metrics", () => `${pair.near.address}:15020`, agents],
    ['the admin port', () => '127.0.0.1:15000', agents],
    ['loopback', () => '127.0.0.1:80'],
    ['loopback in short', () => '127.1:80'],
    ['the metadata address', () => '169.254.169.254:80'],
    ['any address', () => '0.0.0.0:80'],
    ['broadcast', () => '255.255.255.255:80'],
    ['port 0', () => `${pair.endpoint.address}:0`],
    ['port 65536', () => `${pair.endpoint.address}:65536`],
    ['a negative port', () => `${pair.endpoint.address}:-1`],
    ['no port', () => pair.endpoint.address],
    ['an empty port', () => `${pair.endpoint.address}:`],
    ['a hexadecimal port', () => `${pair.endpoint.address}:0x50`],
    ['two ports', () => `${pair.endpoint.address}:80:80`],
    ['IPv6 loopback', () => '[::1]:80'],
    ['an IPv4-mapped address', () => `[::ffff:${pair.endpoint.address}]:${pair.endpoint.port}`],
    ['an octal address', () => `${pair.endpoint.address.replace(/^127/, '0177')}:${pair.endpoint.port}`],
    ['a number for an address', () => `2130706433:${pair.endpoint.port}`],
    ['a name', () => 'localhost:80'],
    ['a name of the cluster', () => 'web.shop.svc.cluster.local:80'],
    ['user information', () => `a@${pair.endpoint.address}:${pair.endpoint.port}`],
    ['a path', () => `${pair.endpoint.address}:${pair.endpoint.port}/x`],
    ['white space', () => ` ${pair.endpoint.address}:${pair.endpoint.port}`],
    ['a line feed', () => `${pair.endpoint.address}:${pair.endpoint.port}\n`],
    ['a NUL', () => `${pair.endpoint.address}:${pair.endpoint.port}\0`],
    ['a very long name', () => `${'a'.repeat(4_000)}:80`],
    ['garbage', () => '\u00ff\u0001:::'],
  ]
  for (const [what, authority, destination] of games) {
    it(`answers 403 to ${what}`, async () => {
      const before = pair.pods.far.connections + pair.pods.near.connections
      for (const protocol of ['http', 'tcp']) {
        const { wire, error } = await ask(authority(), destination, client, [[protocolHeader, protocol]])
        expect(wire).to.equal(null)
        expect(error?.reason, error?.message).to.equal('denied')
        expect(error?.message).to.include('answered 403')
      }
      expect(pair.pods.far.connections + pair.pods.near.connections).to.equal(before)
    })
  }

  it('answers 400 to a CONNECT that names nothing', async () => {
    expect((await ask('')).error?.reason).to.equal('bad_request')
  })

  it('says in the log who asked for what, and does not let the name fill it', async () => {
    await ask(`${'b'.repeat(4_000)}:80`, server, server)
    const lines = pair.far.messages.flatMap((message) =>
      message.type === 'log' && message.fields['source'] === server ? [message] : [],
    )
    expect(lines).to.have.length(1)
    expect(lines[0]!.fields).to.include({ destination: server, reason: 'denied', authority: 'b'.repeat(47) })
  })

  it('does not believe that bytes are no HTTP where the rules ask for a route', async () => {
    const rule = { name: 'shop/t', sources: [client], ports: null }
    const http = [{ name: 'm', path: '/open', methods: null, headers: [] }]
    await pair.far.apply({ kind: 'access', name: server, rules: [{ ...rule, http }] })
    const authority = `${pair.endpoint.address}:${pair.endpoint.port}`
    for (const value of ['tcp', '', 'HTTP', 'http, tcp', 'h2']) {
      const { error } = await ask(authority, server, client, [[protocolHeader, value]])
      expect(error?.reason, value).to.equal('denied')
    }
    expect((await ask(authority)).error?.reason).to.equal('denied')
    const { wire } = await ask(authority, server, client, [[protocolHeader, 'http']])
    const ear = listen(wire!)
    wire!.writeText('GET /shut HTTP/1.1\r\nhost: a\r\n\r\n')
    await until(() => ear.text.startsWith('HTTP/1.1 403 '), 'the refusal')
    wire!.reset()
    await pair.far.apply({ kind: 'access', name: server, gone: true })
  })

  describe('a name that is not known', () => {
    /** How a handshake with this server name ends. */
    function shake(servername: string | null): Promise<string> {
      const leaf = testLeaf(pair.root, formatIdentity('cluster.local', client))
      return new Promise((resolve) => {
        const socket: TLSSocket = connectTls({
          ...tlsRules,
          host: pair.far.address,
          port: 15008,
          ...(servername === null ? {} : { servername }),
          key: leaf.keyPem,
          cert: leaf.pem,
          ca: pair.root.pem,
          ALPNProtocols: ['h2'],
          checkServerIdentity: () => undefined,
        })
        socket.on('secureConnect', () => {
          socket.destroy()
          resolve('secure')
        })
        socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message))
      })
    }

    it('is answered with an alert, never with some certificate', async () => {
      const right = sniLabel(formatIdentity('cluster.local', server))
      expect(await shake(right)).to.equal('secure')
      const wrong = [
        null,
        'localhost',
        sniLabel(formatIdentity('cluster.local', 'shop/db')),
        sniLabel(formatIdentity('other.local', server)),
        `${right}.`,
        `a.${right}`,
        right.slice(0, -1),
      ]
      for (const name of wrong) {
        expect(await shake(name), String(name)).to.match(/ALERT/)
      }
    })
  })
})
