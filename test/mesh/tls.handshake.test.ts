// Who is let in and who is talked to: every certificate and handshake that must be refused, shown by either side, on real
// TLS connections between both ends of the tunnel.

import { once } from 'node:events'
import { connect as connectTcp } from 'node:net'
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls'
import { expect } from 'chai'
import { sniLabel } from '../../agent/identity/sni.ts'
import { goodExtensions, opensslLeaf, type Pair, testLeaf, testRoot } from '../support/certificates.ts'
import { give, open, type TestTunnel, testCredentials, testTunnel } from '../support/tunnel.ts'
import { until } from '../support/until.ts'

const hourMs = 3_600_000
const root = testRoot()
const id = (account: string, trustDomain = 'cluster.local') => `spiffe://${trustDomain}/ns/shop/sa/${account}`

/** Certificates that nobody may be believed with; made for the account that shows them. */
const bad: Record<string, (account: string) => Pair> = {
  'of another root': (account) => testLeaf(testRoot(), id(account)),
  'of another trust domain': (account) => testLeaf(root, id(account, 'evil.example')),
  'that has expired': (account) => testLeaf(root, id(account), Date.now() - 2 * hourMs, hourMs),
  'that is not valid yet': (account) => testLeaf(root, id(account), Date.now() + 2 * hourMs, hourMs),
  'with two URIs': (account) => signed(account, { subjectAltName: `URI:${id(account)},URI:${id('admin')}` }),
  'with a DNS name beside the URI': (account) => signed(account, { subjectAltName: `URI:${id(account)},DNS:admin` }),
  'with a DNS name alone': (account) => signed(account, { subjectAltName: `DNS:${account}` }),
  'without a name': (account) => signed(account, { subjectAltName: null }),
  'that may sign others': (account) => signed(account, { basicConstraints: 'critical,CA:TRUE' }),
  'without basic constraints': (account) => signed(account, { basicConstraints: null }),
  'without extended key usage': (account) => signed(account, { extendedKeyUsage: null }),
  'for code signing': (account) => signed(account, { extendedKeyUsage: 'codeSigning' }),
  'for servers alone': (account) => signed(account, { extendedKeyUsage: 'serverAuth' }),
  'for clients alone': (account) => signed(account, { extendedKeyUsage: 'clientAuth' }),
  'without key usage': (account) => signed(account, { keyUsage: null }),
  'with the key usage of an authority': (account) =>
    signed(account, { keyUsage: 'critical,digitalSignature,keyCertSign' }),
  'of version 1': () => opensslLeaf(root, null),
  'with a key on P-384': (account) => signed(account, {}, ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-384']),
  'with a name that has a second one behind a comma': (account) => testLeaf(root, `${id(account)}, URI:${id('admin')}`),
  'with a NUL in its name': (account) => testLeaf(root, `${id(account)}\0.evil`),
  'with a name in upper case': (account) => testLeaf(root, id(account.toUpperCase())),
}

function signed(account: string, change: Record<string, string | null>, newkey?: string[]): Pair {
  const all = { ...goodExtensions, subjectAltName: `URI:${id(account)}`, ...change }
  const kept = Object.entries(all).filter((entry): entry is [string, string] => entry[1] !== null)
  return opensslLeaf(root, Object.fromEntries(kept), newkey)
}

describe('mesh: TLS between agents', () => {
  let tunnel: TestTunnel
  afterEach(() => tunnel.close())

  for (const [what, make] of Object.entries(bad)) {
    it(`the client refuses a certificate ${what}`, async () => {
      const server = testCredentials(root, 'shop/reviews')
      give(server, 'shop/reviews', make('reviews'))
      tunnel = await testTunnel({ root, server })
      const { error } = await open(tunnel.dialer, tunnel.target())
      expect(error).to.include({ reason: 'tls_failed', retryable: true })
      expect(tunnel.asks).to.have.length(0)
    })

    it(`the server refuses a certificate ${what}`, async () => {
      const client = testCredentials(root, 'shop/client')
      give(client, 'shop/client', make('client'))
      tunnel = await testTunnel({ root, client })
      const { error } = await open(tunnel.dialer, tunnel.target())
      expect(error).to.include({ reason: 'tls_failed', retryable: true })
      expect(tunnel.asks).to.have.length(0)
      await until(() => tunnel.refused.length > 0 && tunnel.server.openSessions === 0)
    })
  }

  it('the client refuses a certificate of the right root for another account', async () => {
    const server = testCredentials(root, 'shop/reviews')
    give(server, 'shop/reviews', testLeaf(root, id('ratings')))
    tunnel = await testTunnel({ root, server })
    const { error } = await open(tunnel.dialer, tunnel.target())
    expect(error).to.include({ reason: 'tls_failed' })
    expect(error!.message).to.include('its certificate is of shop/ratings, not of shop/reviews')
    expect(tunnel.asks).to.have.length(0)
  })

  it('the server knows a client by its certificate alone', async () => {
    const client = testCredentials(root, 'shop/client')
    give(client, 'shop/client', testLeaf(root, id('other')))
    tunnel = await testTunnel({ root, client })
    await tunnel.pair()
    expect(tunnel.asks[0]!.peer.account).to.equal('shop/other')
  })

  it('two accounts of one node are two identities on two connections', async () => {
    const client = testCredentials(root, 'shop/client', 'shop/other')
    tunnel = await testTunnel({ root, client })
    for (const source of ['shop/client', 'shop/other', 'shop/client']) {
      const { error } = await open(tunnel.dialer, tunnel.target({ source, authority: `${source}:1` }))
      expect(error).to.equal(null)
    }
    expect(tunnel.asks.map((ask) => [ask.authority, ask.peer.account])).to.deep.equal([
      ['shop/client:1', 'shop/client'],
      ['shop/other:1', 'shop/other'],
      ['shop/client:1', 'shop/client'],
    ])
    expect(tunnel.server.openSessions).to.equal(2)
  })

  it('names the server whose identity is wanted, and no other', async () => {
    tunnel = await testTunnel({ root })
    for (const destination of ['shop/reviews', 'shop/ratings']) {
      await open(tunnel.dialer, tunnel.target({ destination }))
    }
    expect(tunnel.asks.map(({ account }) => account)).to.deep.equal(['shop/reviews', 'shop/ratings'])
    const { error } = await open(tunnel.dialer, tunnel.target({ destination: 'shop/elsewhere' }))
    expect(error).to.include({ reason: 'tls_failed' })
    expect(error!.message).to.match(/handshake failure/)
  })

  it('says what to look at when there is nobody', async () => {
    tunnel = await testTunnel({ root })
    tunnel.server.close()
    const { error } = await open(tunnel.dialer, tunnel.target())
    expect(error).to.include({ reason: 'no_peer', retryable: true })
    expect(error!.message).to.include(`127.0.0.1:${tunnel.port}`)
  })

  it('is no_identity while there is no certificate for the caller', async () => {
    tunnel = await testTunnel({ root, client: testCredentials(root), dial: { connectMs: 100 } })
    const { error } = await open(tunnel.dialer, tunnel.target())
    expect(error!.reason).to.be.oneOf(['no_identity', 'no_peer'])
  })
})

describe('mesh: TLS handshakes by hand', () => {
  let tunnel: TestTunnel
  const good = testLeaf(root, id('client'))
  const label = sniLabel(id('reviews'))
  const base: ConnectionOptions = {
    host: '127.0.0.1',
    key: good.keyPem,
    cert: good.pem,
    ca: root.pem,
    servername: label,
    ALPNProtocols: ['h2'],
    checkServerIdentity: () => undefined,
  }

  /** Connects; gives the socket when the server has spoken HTTP/2, or the code of the error. */
  function shake(change: ConnectionOptions): Promise<TLSSocket | string> {
    return new Promise((resolve) => {
      const socket = connect({ ...base, port: tunnel.port, ...change })
      socket.once('data', () => resolve(socket))
      socket.on('error', (error) => resolve(String((error as NodeJS.ErrnoException).code)))
      socket.once('close', () => resolve('closed'))
    })
  }

  beforeEach(async () => {
    tunnel = await testTunnel({ root, serve: { handshakeMs: 300 } })
  })
  afterEach(() => tunnel.close())

  it('succeed as they should', async () => {
    const socket = await shake({})
    expect(socket).to.be.an('object')
    expect((socket as TLSSocket).getProtocol()).to.equal('TLSv1.3')
    expect((socket as TLSSocket).getCipher().name).to.match(/^TLS_AES_(128|256)_GCM_SHA(256|384)$/)
    ;(socket as TLSSocket).destroy()
  })

  it('take the server name in any case', async () => {
    const socket = await shake({ servername: label.toUpperCase() })
    expect(socket).to.be.an('object')
    ;(socket as TLSSocket).destroy()
  })

  for (const [what, servername] of [
    ['unknown', sniLabel(id('nobody'))],
    ['followed by a dot', `${label}.`],
    ['a part of one', label.slice(0, -1)],
    ['one under one', `x.${label}`],
    ['the name of an object property', '__proto__'],
    ['absent', ''],
  ] as const) {
    it(`end with an alert, and without a certificate, for a server name that is ${what}`, async () => {
      let isShown = false
      const checkServerIdentity = () => {
        isShown = true
        return undefined
      }
      expect(await shake({ servername, checkServerIdentity })).to.match(/HANDSHAKE_FAILURE|UNRECOGNIZED_NAME/)
      expect(isShown).to.equal(false)
    })
  }

  it('end without a client certificate', async () => {
    const { key, cert, ...rest } = base
    expect([key, cert]).to.have.length(2)
    const socket = connect({ ...rest, port: tunnel.port })
    const [error] = await once(socket, 'error')
    expect(error.code).to.match(/CERTIFICATE_REQUIRED/)
  })

  it('end below TLS 1.3, with other ciphers, and without HTTP/2', async () => {
    expect(await shake({ maxVersion: 'TLSv1.2' })).to.match(/PROTOCOL_VERSION/)
    expect(await shake({ ciphers: 'TLS_CHACHA20_POLY1305_SHA256' })).to.match(/HANDSHAKE_FAILURE/)
    expect(await shake({ ALPNProtocols: ['http/1.1'] })).to.match(/NO_APPLICATION_PROTOCOL/)
    expect(await shake({ ALPNProtocols: [] })).to.equal('closed')
    expect(tunnel.server.openSessions).to.equal(0)
  })

  it('are never resumed', async () => {
    const first = connect({ ...base, port: tunnel.port })
    const sessions: Buffer[] = []
    first.on('session', (session) => sessions.push(session))
    await once(first, 'data')
    const kept = first.getSession()
    first.destroy()
    for (const session of [...sessions, kept]) {
      const second = connect({ ...base, port: tunnel.port, ...(session === undefined ? {} : { session }) })
      await once(second, 'data')
      expect(second.isSessionReused()).to.equal(false)
      second.destroy()
    }
  })

  it('are given up when the client says nothing', async () => {
    const socket = connectTcp(tunnel.port, '127.0.0.1')
    await once(socket, 'close')
    expect(tunnel.refused).to.deep.equal(['TLS handshake timeout'])
  })

  it('survive bytes that are no handshake', async () => {
    const socket = connectTcp(tunnel.port, '127.0.0.1')
    socket.on('error', () => {})
    socket.end('GET / HTTP/1.1\r\n\r\n')
    await once(socket, 'close')
    const good = await shake({})
    expect(good).to.be.an('object')
    ;(good as TLSSocket).destroy()
  })
})
