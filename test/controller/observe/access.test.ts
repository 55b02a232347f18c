// How the controller proves who it is to an API server, and asks the same of it; on real sockets.

import { execFileSync } from 'node:child_process'
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TLSSocket } from 'node:tls'
import { KubeConfig } from '@kubernetes/client-node'
import { expect } from 'chai'
import { ApiError, ConfigError } from '../../../controller/errors.ts'
import { type Cluster, openCluster } from '../../../controller/observe/access.ts'
import { openApi } from '../../../controller/observe/api.ts'
import { type FakeServer, json, startFakeServer } from '../../support/fakeserver.ts'

type User = KubeConfig['users'][number]

function configOf(server: string, user: Partial<User>, cluster: object = {}): KubeConfig {
  const config = new KubeConfig()
  config.loadFromOptions({
    clusters: [{ name: 'c', server, skipTLSVerify: false, ...cluster }],
    users: [{ name: 'u', ...user }],
    contexts: [{ name: 'x', cluster: 'c', user: 'u' }],
    currentContext: 'x',
  })
  return config
}

describe('access to the API server', () => {
  let folder: string
  let plain: FakeServer
  let seen: string[]
  let open: Cluster[]

  beforeEach(async () => {
    open = []
    seen = []
    folder = mkdtempSync(join(tmpdir(), 'weft-access-'))
    plain = await startFakeServer(({ headers, url }, response) => {
      seen.push(`${url.pathname} ${headers.authorization ?? 'nobody'}`)
      json(response, 200, {})
    })
  })

  afterEach(async () => {
    for (const each of open) await each.close()
    await plain.close()
    rmSync(folder, { recursive: true })
  })

  async function ask(config: KubeConfig): Promise<unknown> {
    const cluster = openCluster(config)
    open.push(cluster)
    return openApi(cluster).request('GET', '/version')
  }

  it('shows the token, or the user and password, of the kubeconfig', async () => {
    await ask(configOf(plain.url, { token: 'secret' }))
    await ask(configOf(plain.url, { username: 'me', password: 'pass' }))
    expect(seen).to.deep.equal([
      '/version Bearer secret',
      `/version Basic ${Buffer.from('me:pass').toString('base64')}`,
    ])
  })

  it('keeps the path of the server', async () => {
    await ask(configOf(`${plain.url}/clusters/one/`, {}))
    expect(seen).to.deep.equal(['/clusters/one/version nobody'])
  })

  it('asks an exec plugin', async () => {
    const plugin = join(folder, 'plugin')
    const credential = {
      apiVersion: 'client.authentication.k8s.io/v1',
      kind: 'ExecCredential',
      status: { token: 'from-plugin' },
    }
    writeFileSync(plugin, `#!/bin/sh\necho '${JSON.stringify(credential)}'\n`)
    chmodSync(plugin, 0o755)
    await ask(
      configOf(plain.url, {
        exec: { apiVersion: 'client.authentication.k8s.io/v1', command: plugin },
      } as Partial<User>),
    )
    expect(seen).to.deep.equal(['/version Bearer from-plugin'])
  })

  it('reads a token file', async () => {
    const tokenFile = join(folder, 'token')
    writeFileSync(tokenFile, 'projected')
    await ask(configOf(plain.url, { authProvider: { name: 'tokenFile', config: { tokenFile } } } as Partial<User>))
    expect(seen).to.deep.equal(['/version Bearer projected'])
  })

  it('says what no answer and a refusal were', async () => {
    const refusing = await startFakeServer((_request, response) => {
      response.writeHead(429, { 'retry-after': '3' }).end('slow <b>down</b>')
    })
    const failure = async (url: string): Promise<ApiError> => {
      try {
        await ask(configOf(url, {}))
      } catch (thrown) {
        if (thrown instanceof ApiError) return thrown
        throw thrown
      }
      throw new Error('was answered')
    }
    expect(await failure(refusing.url)).to.deep.include({
      message: 'GET /version: 429 slow <b>down</b>',
      status: 429,
      retryAfter: 3,
    })
    await refusing.close()
    expect(await failure(refusing.url)).to.include({ message: 'GET /version failed', status: 0 })
  })

  for (const [what, config, why] of [
    ['plain http to a foreign address', configOf('http://192.0.2.1:8080', {}), 'tokens would travel in the clear'],
    ['a SOCKS proxy', configOf('https://127.0.0.1', {}, { proxyUrl: 'socks5://127.0.0.1:1' }), 'only http(s)'],
    ['a configuration without context', new KubeConfig(), 'names no cluster'],
  ] as const) {
    it(`refuses ${what}`, () => {
      expect(() => openCluster(config)).to.throw(ConfigError, why)
    })
  }

  describe('over TLS', () => {
    let server: Server
    let url: string
    let names: string[]

    /** A certificate for 127.0.0.1 or a client, signed by the authority of that name. */
    function certify(authority: string, name: string): { cert: string; key: string } {
      const run = (...args: string[]) => execFileSync('openssl', args, { cwd: folder, stdio: 'ignore' })
      const ec = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '1']
      try {
        readFileSync(join(folder, `${authority}.crt`))
      } catch {
        run(
          'req',
          '-x509',
          ...ec,
          '-subj',
          `/CN=${authority}`,
          '-keyout',
          `${authority}.key`,
          '-out',
          `${authority}.crt`,
        )
      }
      const names = ['-subj', `/CN=${name}`, '-addext', 'subjectAltName=IP:127.0.0.1']
      const signer = ['-CA', `${authority}.crt`, '-CAkey', `${authority}.key`]
      run('req', '-x509', ...ec, ...names, ...signer, '-keyout', `${name}.key`, '-out', `${name}.crt`)
      return {
        cert: readFileSync(join(folder, `${name}.crt`), 'utf8'),
        key: readFileSync(join(folder, `${name}.key`), 'utf8'),
      }
    }

    const text = (file: string) => readFileSync(join(folder, file), 'utf8')
    const data = (file: string) => Buffer.from(text(file)).toString('base64')

    beforeEach(async () => {
      names = []
      const pair = certify('root', 'server')
      certify('root', 'alice')
      certify('root', 'bob')
      server = createServer(
        { ...pair, ca: text('root.crt'), requestCert: true, rejectUnauthorized: true },
        (request, response) => {
          names.push(String((request.socket as TLSSocket).getPeerCertificate().subject.CN))
          response.end('{}')
        },
      )
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
      url = `https://127.0.0.1:${(server.address() as AddressInfo).port}`
    })

    afterEach(() => {
      server.closeAllConnections()
      server.close()
    })

    it('shows the client certificate, and a renewed one as soon as its file changes', async () => {
      writeFileSync(join(folder, 'client.crt'), text('alice.crt'))
      writeFileSync(join(folder, 'client.key'), text('alice.key'))
      const files = { certFile: join(folder, 'client.crt'), keyFile: join(folder, 'client.key') }
      const cluster = openCluster(configOf(url, files, { caData: data('root.crt') }))
      open.push(cluster)
      const api = openApi(cluster)
      await api.request('GET', '/version')
      writeFileSync(join(folder, 'client.crt'), text('bob.crt'))
      writeFileSync(join(folder, 'client.key'), text('bob.key'))
      await api.request('GET', '/version')
      expect(names).to.deep.equal(['alice', 'bob'])
    })

    it('talks to nobody who can’t prove to be the server', async () => {
      certify('other', 'mallory')
      let failure: unknown
      await ask(
        configOf(url, { certData: data('alice.crt'), keyData: data('alice.key') }, { caData: data('other.crt') }),
      ).catch((thrown) => {
        failure = thrown
      })
      expect(failure).to.be.instanceOf(ApiError)
      expect(names).to.deep.equal([])
    })
  })
})
