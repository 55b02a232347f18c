// The authority of controllers as they are run: one root for all, a given root, and who is refused on the agents' link.

import { X509Certificate } from 'node:crypto'
import { request } from 'node:https'
import { connect } from 'node:tls'
import { expect } from 'chai'
import { makeKey } from '../../agent/identity/key.ts'
import { makeRequest } from '../../agent/identity/request.ts'
import { certificateIdentity } from '../../controller/contract/certificate.ts'
import type { Pod } from '../../controller/observe/objects.ts'
import { testRoot } from '../support/certificates.ts'
import { type ControllerProcess, startController } from '../support/controllerprocess.ts'
import { eachCluster } from '../support/kubecluster.ts'
import { until } from '../support/until.ts'

eachCluster('controller as authority', (cluster) => {
  const running: ControllerProcess[] = []
  let mesh = ''

  beforeEach(async () => {
    mesh = await cluster.test.namespace()
  })
  afterEach(async () => {
    await Promise.all(running.splice(0).map((each) => each.stop('SIGKILL')))
  })

  async function start(pod: string): Promise<ControllerProcess> {
    const started = await startController(cluster.kubeconfig, pod, '--namespace', mesh)
    running.push(started)
    return started
  }
  const ready = (one: ControllerProcess) =>
    until(async () => (await one.get('/readyz')).status === 200, `readiness of ${one.pod}`)

  async function config(): Promise<Record<string, string>> {
    return (await cluster.test.request('GET', `/api/v1/namespaces/${mesh}/configmaps/weft-trust`)).body.data
  }

  async function putRoot(data: Record<string, string>): Promise<void> {
    const path = `/api/v1/namespaces/${mesh}/secrets`
    await cluster.test.request('DELETE', `${path}/weft-root`)
    const secret = { metadata: { name: 'weft-root' }, type: 'kubernetes.io/tls', stringData: data }
    expect((await cluster.test.request('POST', path, secret)).status).to.equal(201)
  }

  /** What the agents' link shows to somebody who trusts the published bundle. */
  function shown(port: number, ca: string): Promise<X509Certificate> {
    return new Promise((resolve, reject) => {
      const socket = connect({ host: '127.0.0.1', port, ca, checkServerIdentity: () => undefined }, () => {
        resolve(socket.getPeerX509Certificate()!)
        socket.destroy()
      })
      socket.on('error', reject)
    })
  }

  async function ask(port: number, identity: string, token: string): Promise<{ status: number; body: string }> {
    const ca = (await config())['bundle.pem']!
    const headers = token === '' ? {} : { authorization: `Bearer ${token}` }
    const csr = makeRequest(makeKey()).toString('base64')
    const options = { host: '127.0.0.1', port, path: '/v1/sign', method: 'POST', ca, headers, agent: false as const }
    return new Promise((resolve, reject) => {
      request({ ...options, checkServerIdentity: () => undefined }, async (response) => {
        resolve({ status: response.statusCode!, body: Buffer.concat(await response.toArray()).toString() })
      })
        .on('error', reject)
        .end(JSON.stringify({ identity, csr }))
    })
  }

  it('has one root however many start at once, and never shows its key', async () => {
    const all = await Promise.all([1, 2, 3].map((number) => start(`controller-${number}`)))
    await Promise.all(all.map(ready))
    const ca = (await config())['bundle.pem']!
    const roots = new Set<string>()
    for (const { port, get } of all) {
      const { account } = certificateIdentity((await shown(port, ca)).raw, 'cluster.local')
      expect(account).to.equal(`${mesh}/weft-controller`)
      const { text } = await get('/debug/authority')
      expect(text).to.not.include('PRIVATE')
      roots.add(JSON.parse(text).rotation.signing.id)
      expect((await get('/metrics')).text).to.match(
        /^weft_controller_root_expiry_timestamp_seconds\{root="signing"\} 21\d+$/m,
      )
    }
    expect([...roots]).to.deep.equal([(await config())['signer']])
  })

  it('waits for a given root that can be used, and says what is wrong with it', async () => {
    await putRoot({ 'tls.crt': 'nonsense', 'tls.key': 'nonsense' })
    const one = await start('controller-1')
    await until(async () => (await one.get('/readyz?verbose')).text.includes('authority: tls.crt'))
    expect((await one.get('/readyz?verbose')).text).to.include(
      'waiting for: authority: tls.crt holds no PEM certificate',
    )
    expect((await one.get('/debug/authority')).status).to.equal(503)
    const given = testRoot()
    await putRoot({
      'tls.crt': given.pem,
      'tls.key': given.key.export({ type: 'pkcs8', format: 'pem' }) as string,
      'ca.crt': given.pem,
    })
    await ready(one)
    expect((await config())['bundle.pem']).to.equal(given.pem)
    expect((await shown(one.port, given.pem)).checkIssued(new X509Certificate(given.pem))).to.equal(true)
  }).timeout(40_000)

  it('refuses all but an agent that asks for an account of its node, and says no more than that', async () => {
    const one = await start('controller-1')
    const agent = await cluster.objects.agent(mesh, 'weft-agent-1', 'n1', '10.9.7.1')
    const elsewhere = await cluster.objects.agent(mesh, 'weft-agent-2', 'n2', '10.9.7.2')
    const plain: Pod = await cluster.objects.podOf('reviews', mesh, 'reviews-1', 'n1', '10.9.7.3')
    const ended = await cluster.objects.agent(mesh, 'weft-agent-3', 'n1', '10.9.7.4')
    const tokens = {
      good: await cluster.objects.token(agent, 'weft-authority'),
      elsewhere: await cluster.objects.token(elsewhere, 'weft-authority'),
      audience: await cluster.objects.token(agent, 'vault'),
      plain: await cluster.objects.token(plain, 'weft-authority'),
      ended: await cluster.objects.token(ended, 'weft-authority'),
    }
    const status = `/api/v1/namespaces/${mesh}/pods/weft-agent-3/status`
    await cluster.objects.patch(status, { status: { phase: 'Succeeded' } })
    await ready(one)
    const wanted = `spiffe://cluster.local/ns/${mesh}/sa/reviews`
    const good = await ask(one.port, wanted, tokens.good)
    expect(good.status).to.equal(200)
    const { chain } = JSON.parse(good.body) as { chain: string[] }
    expect(new X509Certificate(chain[0]!).subjectAltName).to.equal(`URI:${wanted}`)

    const cases: [reason: string, identity: string, token: string][] = [
      ['no_token', wanted, ''],
      ['token_invalid', wanted, 'nonsense'],
      ['token_invalid', wanted, tokens.audience],
      ['not_an_agent', wanted, tokens.plain],
      ['pod_ended', wanted, tokens.ended],
      ['not_on_node', wanted, tokens.elsewhere],
      ['not_on_node', `spiffe://cluster.local/ns/${mesh}/sa/nobody`, tokens.good],
      ['wrong_trust_domain', wanted.replace('cluster.local', 'elsewhere'), tokens.good],
      ['invalid_identity', `${wanted}/x`, tokens.good],
    ]
    for (const [reason, identity, token] of cases) {
      const before = one.lines.length
      expect(await ask(one.port, identity, token), reason).to.deep.equal({ status: 403, body: '{"error":"refused"}' })
      await until(() => one.lines.slice(before).some((line) => line['reason'] === reason), `log line with ${reason}`)
    }
    const { text } = await one.get('/metrics')
    expect(text).to.include('weft_controller_certificates_total 1\n')
    expect(text).to.include('weft_controller_refusals_total{reason="token_invalid"} 2\n')
    expect(text).to.include('weft_controller_refusals_total{reason="not_on_node"} 2\n')
    expect(text).to.include('weft_controller_refusals_total{reason="unknown_pod"} 0\n')
  })
})
