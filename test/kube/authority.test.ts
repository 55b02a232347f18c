// The authority on a Kubernetes API: Secrets without a race, tokens reviewed by the API server, and an agent that gets its
// certificates over the link.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { pino } from 'pino'
import { systemClock as agentClock } from '../../agent/clock.ts'
import { type IdentityPart, startIdentity } from '../../agent/identity/identity.ts'
import type { IdentityMessage } from '../../agent/identity/messages.ts'
import { replaceRoot } from '../../controller/authority/keep.ts'
import { type RunningAuthority, startAuthority } from '../../controller/authority/start.ts'
import { kubeStore } from '../../controller/authority/store.ts'
import { systemClock } from '../../controller/clock.ts'
import { ApiError } from '../../controller/errors.ts'
import type { Api } from '../../controller/observe/api.ts'
import type { Pod } from '../../controller/observe/objects.ts'
import { emptyWorld, type World } from '../../controller/observe/world.ts'
import { type Handler, type Server, startServer } from '../../controller/serve.ts'
import { eachCluster } from '../support/kubecluster.ts'
import { until } from '../support/until.ts'

eachCluster(
  'authority',
  (cluster) => {
    const started: { stop(): Promise<void> }[] = []
    const folders: string[] = []
    let server: Server | null = null
    let namespace = ''
    let world: World = emptyWorld

    beforeEach(async () => {
      namespace = await cluster.test.namespace()
      world = emptyWorld
    })

    afterEach(async () => {
      await server?.close(0)
      server = null
      for (const each of started.splice(0)) await each.stop()
      for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true })
    })

    function replica(name: string, api: Pick<Api, 'request'> = cluster.api): RunningAuthority {
      const running = startAuthority({
        api,
        clock: systemClock,
        log: pino({ level: 'silent' }),
        world: () => world,
        isLeader: () => name === 'controller-1',
        namespace,
        trustDomain: 'cluster.local',
        agentSelector: { 'app.kubernetes.io/name': 'weft-agent' },
        controller: name,
        lifetimeMs: 3_600_000,
      })
      started.push(running)
      return running
    }

    async function opened(name: string): Promise<RunningAuthority> {
      const running = replica(name)
      await running.opened
      return running
    }

    async function pod(name: string, node: string, account: string, labels: Record<string, string> = {}): Promise<Pod> {
      const base = `/api/v1/namespaces/${namespace}`
      await cluster.test.request('POST', `${base}/serviceaccounts`, { metadata: { name: account } })
      const spec = { serviceAccountName: account, nodeName: node, containers: [{ name: 'c', image: 'i' }] }
      const answer = await cluster.test.request('POST', `${base}/pods`, { metadata: { name, labels }, spec })
      expect(answer.status, JSON.stringify(answer.body)).to.equal(201)
      world = { ...world, pods: new Map([...world.pods, [`${namespace}/${name}`, answer.body as Pod]]) }
      return answer.body as Pod
    }

    async function token(of: Pod, audience: string): Promise<string> {
      const path = `/api/v1/namespaces/${namespace}/serviceaccounts/${of.spec.serviceAccountName}/token`
      const { name, uid } = of.metadata
      const spec = { audiences: [audience], boundObjectRef: { apiVersion: 'v1', kind: 'Pod', name, uid } }
      const { status, body } = await cluster.test.request('POST', path, { spec })
      expect(status, JSON.stringify(body)).to.equal(201)
      return body.status.token
    }

    async function config(): Promise<Record<string, string>> {
      return (await cluster.test.request('GET', `/api/v1/namespaces/${namespace}/configmaps/weft-trust`)).body.data
    }

    /** The agent's side, with the ConfigMap and the token as kubelets mount them. */
    async function agent(
      mounted: string,
    ): Promise<{ identity: IdentityPart; published: IdentityMessage[]; problems: string[] }> {
      const folder = mkdtempSync(join(tmpdir(), 'weft-test-'))
      folders.push(folder)
      for (const [name, text] of Object.entries(await config())) writeFileSync(join(folder, name), text)
      writeFileSync(join(folder, 'token'), mounted)
      const published: IdentityMessage[] = []
      const problems: string[] = []
      const identity = startIdentity({
        trustFolder: folder,
        controller: `https://127.0.0.1:${server!.port}`,
        tokenFile: join(folder, 'token'),
        clock: agentClock,
        random: () => 0.5,
        publish: (message) => published.push(message),
        changed: () => {},
        log: (level, fields) => {
          if (level === 'warn') problems.push(String(fields['problem']))
        },
      })
      started.push(identity)
      return { identity, published, problems }
    }

    it('has one root for replicas that start at once', async () => {
      const opened = await Promise.all([1, 2, 3].map((number) => replica(`controller-${number}`).opened))
      expect(new Set(opened.map(({ authority }) => authority.signer())).size).to.equal(1)
      const { body } = await cluster.test.request('GET', `/api/v1/namespaces/${namespace}/secrets/weft-root`)
      expect(body.type).to.equal('kubernetes.io/tls')
      expect(body.metadata.labels).to.deep.equal({ 'app.kubernetes.io/managed-by': 'weft' })
      expect((await config())['bundle.pem']).to.equal(
        Buffer.from(body.data['ca.crt'], 'base64').toString().trim().concat('\n'),
      )
      expect((await config())['signer']).to.equal(opened[0]!.authority.signer())
    })

    it('gives an agent the certificates of its node, and nothing else', async () => {
      const { handle, tls, authenticate } = await opened('controller-1')
      server = await startServer('127.0.0.1', 0, [handle], tls)
      const agentPod = await pod('weft-agent-1', 'n1', 'weft-agent', { 'app.kubernetes.io/name': 'weft-agent' })
      await pod('reviews-1', 'n1', 'reviews')
      await pod('ratings-1', 'n2', 'ratings')
      const good = await token(agentPod, 'weft-authority')
      const { identity, published, problems } = await agent(good)
      expect(identity.trouble()).to.not.equal('')
      await until(() => identity.trouble() === '')
      identity.retain(new Set([`${namespace}/reviews`, `${namespace}/ratings`]), new Set([`${namespace}/reviews`]))
      identity.need(`${namespace}/ratings`)
      await until(() => problems.length > 0)
      expect(problems[0]).to.equal('the authority answered 403')
      const accounts = () => published.flatMap((each) => (each.type === 'certificate' ? [each.account] : []))
      await until(() => accounts().length === 2)
      expect(accounts()).to.deep.equal([`${namespace}/weft-agent`, `${namespace}/reviews`])
      expect(identity.report()).to.have.keys('trust', 'signers')

      // The same token opens this node's snapshot, and no other's.
      const request = { headers: { authorization: `Bearer ${good}` } } as Parameters<typeof authenticate>[0]
      const { uid } = agentPod.metadata
      expect(await authenticate(request, { node: 'n1', pod: 'weft-agent-1' })).to.deep.equal({
        agent: { node: 'n1', pod: 'weft-agent-1', podUid: uid },
      })
      expect(await authenticate(request, { node: 'n2', pod: 'weft-agent-1' })).to.deep.include({ status: 403 })
      expect(await authenticate(request, { node: 'n1', pod: 'weft-agent-2' })).to.deep.include({ status: 403 })
      const nobody = { headers: {} } as Parameters<typeof authenticate>[0]
      expect(await authenticate(nobody, { node: 'n1', pod: 'weft-agent-1' })).to.deep.include({ status: 401 })
    })

    it('refuses tokens for another audience and of other pods', async () => {
      const { handle, tls } = await opened('controller-1')
      server = await startServer('127.0.0.1', 0, [handle], tls)
      const agentPod = await pod('weft-agent-1', 'n1', 'weft-agent', { 'app.kubernetes.io/name': 'weft-agent' })
      const other = await pod('reviews-1', 'n1', 'reviews')
      for (const bad of [await token(agentPod, 'another'), await token(other, 'weft-authority'), 'nonsense']) {
        const { identity, problems, published } = await agent(bad)
        await until(() => problems.length > 0)
        expect(problems[0]).to.equal('the authority answered 403')
        expect(published.some(({ type }) => type === 'certificate')).to.equal(false)
        expect(identity.trouble()).to.include('403')
      }
    })

    it('takes a certificate for a snapshot from the pod’s own address while no token can be reviewed', async () => {
      let isAway = false
      const request: Api['request'] = (method, path, options) =>
        isAway && path.endsWith('tokenreviews')
          ? Promise.reject(new ApiError('no answer', { status: 0 }))
          : cluster.api.request(method, path, options)
      const running = replica('controller-1', { request })
      await running.opened
      const who: Handler = (incoming, response) => {
        const { pathname, searchParams } = new URL(incoming.url!, 'http://c')
        if (pathname !== '/who') return false
        const claim = { node: searchParams.get('node')!, pod: searchParams.get('pod')! }
        void running.authenticate(incoming, claim).then((verdict) => response.end(JSON.stringify(verdict)))
        return true
      }
      server = await startServer('127.0.0.1', 0, [who, running.handle], running.tls)
      const labels = { 'app.kubernetes.io/name': 'weft-agent' }
      const here = await pod('weft-agent-1', 'n1', 'weft-agent', labels)
      const other = await pod('weft-agent-2', 'n2', 'weft-agent', labels)
      const placed = (each: Pod, podIP: string): [string, Pod] => [
        `${namespace}/${each.metadata.name}`,
        { ...each, status: { phase: 'Running', podIP, podIPs: [{ ip: podIP }] } },
      ]
      world = { ...world, pods: new Map([placed(here, '127.0.0.1'), placed(other, '127.0.0.2')]) }
      const { identity } = await agent(await token(here, 'weft-authority'))
      const stranger = (await agent('nonsense')).identity
      await until(() => identity.trouble() === '')
      isAway = true

      async function ask(by: IdentityPart, node: string, name: string): Promise<Record<string, unknown>> {
        const origin = `https://127.0.0.1:${server!.port}`
        const headers = { authorization: 'Bearer renewed' }
        const path = `/who?node=${node}&pod=${name}`
        const { body } = await by.dispatcher().request({ origin, path, method: 'GET', headers })
        return (await body.json()) as Record<string, unknown>
      }
      expect(await ask(identity, 'n1', 'weft-agent-1')).to.deep.equal({
        agent: { node: 'n1', pod: 'weft-agent-1', podUid: here.metadata.uid },
      })
      expect(await ask(identity, 'n2', 'weft-agent-1')).to.deep.include({ status: 403 })
      // All agents have one identity: another pod's address is what tells them apart.
      expect(await ask(identity, 'n2', 'weft-agent-2')).to.deep.include({ status: 503 })
      expect(await ask(stranger, 'n1', 'weft-agent-1')).to.deep.include({ status: 503 })
      // Never another certificate for a certificate.
      writeFileSync(join(folders[0]!, 'token'), 'renewed')
      identity.retain(new Set([`${namespace}/reviews`]), new Set([`${namespace}/reviews`]))
      const problem = () => identity.list().find(({ account }) => account === `${namespace}/reviews`)?.problem ?? ''
      await until(() => problem() !== '')
      expect(problem()).to.equal('the authority answered 503')
    })

    it('rotates its own root on the API, step by step', async () => {
      const { open, reported } = await opened('controller-1')
      const { authority } = open!
      const before = authority.signer()
      await replaceRoot(kubeStore(cluster.api, namespace), Date.now())
      await authority.tick()
      expect(authority.status().phase).to.equal('trusting')
      expect((await config())['bundle.pem']).to.equal(authority.trust())
      expect((await config())['signer']).to.equal(before)
      reported({ node: 'n1', pod: 'weft-agent-1', version: '1', error: null, trust: 'x', signers: [] })
      await authority.tick()
      const { body } = await cluster.test.request('GET', `/api/v1/namespaces/${namespace}/secrets/weft-authority`)
      expect(body.metadata.annotations['weft.dev/phase']).to.equal('trusting')
      expect(Object.keys(body.data)).to.include.members(['signing.crt', 'signing.key', 'incoming.crt', 'incoming.key'])
    })

    it('waits for a root that can be used, and says what is wrong with the one given', async () => {
      const path = `/api/v1/namespaces/${namespace}/secrets`
      const data = { 'tls.crt': Buffer.from('x').toString('base64'), 'tls.key': Buffer.from('y').toString('base64') }
      const metadata = { name: 'weft-root' }
      await cluster.test.request('POST', path, { type: 'kubernetes.io/tls', metadata, data })
      const running = replica('controller-1')
      await until(() => running.trouble().includes('tls.crt holds no PEM certificate'))
      await cluster.test.request('DELETE', `${path}/weft-root`)
      await running.opened
      expect(running.trouble()).to.equal('')
    })
  },
  { crds: false },
)
