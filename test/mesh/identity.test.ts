// The way of identities through whole agents and a controller over HTTPS: first certificates, rotation of the root, and
// controllers that nobody should listen to.

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import type { IncomingHttpHeaders } from 'node:http'
import { createServer as createTls, type Server as TlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { call as send } from '../support/call.ts'
import { testLeaf, testRoot } from '../support/certificates.ts'
import { eachCluster } from '../support/kubecluster.ts'
import { type Load, startLoad } from '../support/load.ts'
import { until } from '../support/until.ts'
import { startWholeMesh, type WholeMesh } from '../support/wholemesh.ts'

eachCluster(
  'mesh: identities of whole agents',
  (cluster) => {
    let mesh: WholeMesh
    let seen: IncomingHttpHeaders = {}
    const loads: Load[] = []

    beforeEach(async () => {
      mesh = await startWholeMesh(cluster, (incoming, response) => {
        seen = incoming.headers
        response.end('hello')
      })
    })
    afterEach(async () => {
      await Promise.all(loads.splice(0).map((load) => load.stop()))
      await mesh.stop()
    })

    async function call(from: string): Promise<{ status: number; reason: string }> {
      const { status, headers } = await send({ ...mesh.entry, from, headers: { host: 'web-mesh.shop' } })
      return { status, reason: String(headers['x-weft-error'] ?? '') }
    }

    function load(from: string): Load {
      const started = startLoad({ ...mesh.entry, headers: { host: 'web-mesh.shop' }, from, callers: 2, pauseMs: 2 })
      loads.push(started)
      return started
    }

    async function both(): Promise<void> {
      await mesh.startAgent('node1')
      await mesh.startAgent('node2')
      await until(() => mesh.agents.every(({ agent }) => agent.ready.isReady), 'both agents')
    }

    const accounts = async (at: number): Promise<string[]> => {
      const { accounts: list } = JSON.parse(await mesh.agents[at]!.page('/debug/identities')) as {
        accounts: { account: string; expires: number }[]
      }
      return list.filter(({ expires }) => expires > 0).map(({ account }) => account.replace(/^test-\w+\//, ''))
    }

    it('come by token first, then over mutual TLS: ahead of time for servers, at the first call for callers', async () => {
      const client = mesh.addCaller('node1', 'shop/client')
      const stranger = mesh.addCaller('node1', 'elsewhere/late')
      await both()
      expect(await accounts(0)).to.deep.equal(['weft-agent', 'shop/client'])
      expect(await accounts(1)).to.deep.equal(['weft-agent', 'shop/web'])

      expect(await call(client)).to.deep.equal({ status: 200, reason: '' })
      const by = 'By=spiffe://cluster.local/ns/shop/sa/web;URI=spiffe://cluster.local/ns/'
      expect(seen['x-forwarded-client-cert']).to.equal(`${by}shop/sa/client`)
      expect(await call(stranger)).to.deep.equal({ status: 200, reason: '' })
      expect(seen['x-forwarded-client-cert']).to.equal(`${by}elsewhere/sa/late`)
      expect(await accounts(0)).to.deep.equal(['weft-agent', 'shop/client', 'elsewhere/late'])

      for (const { page } of mesh.agents) {
        const sources = await Promise.all(['/debug/identities', '/debug/config', '/metrics'].map(page))
        for (const text of sources) expect(text).to.not.include('PRIVATE')
        expect(sources[2]).to.match(/^weft_certificate_expiry_timestamp_seconds\{of="own"\} \d{10}$/m)
      }
      const [first, ...more] = mesh.asked.filter(({ path, isMutual }) => path === '/v1/sign' || isMutual)
      expect(first).to.deep.include({ path: '/v1/sign', isMutual: false })
      expect(more.filter(({ isMutual }) => !isMutual)).to.have.length(1)
      expect(more.filter(({ path, isMutual }) => path === '/v1/sign' && isMutual)).to.have.length(3)
    })

    it('are forgotten when the last pod of their account has left the node', async () => {
      const client = mesh.addCaller('node1', 'shop/client')
      await both()
      expect(await call(client)).to.include({ status: 200 })
      mesh.removeCaller(client)
      await until(async () => !(await accounts(0)).includes('shop/client'))
      expect(await accounts(1)).to.deep.equal(['weft-agent', 'shop/web'])
    })

    it('follow a rotation of the root, with a crash of the controller at each step, without a failed request', async () => {
      const callers = [1, 2, 3, 4].map((number) => mesh.addCaller('node1', `shop/client-${number}`))
      await both()
      const first = mesh.authority.signer()
      const old = mesh.authority.trust()
      const running: Load[] = []
      /** Another account each time: it shakes hands anew. */
      const more = async () => {
        running.push(load(callers[running.length]!))
        await Promise.all(
          running.map((each) => {
            const before = each.succeeded()
            return until(() => each.succeeded() > before + 20 || each.failures.length > 0, 'requests')
          }),
        )
      }
      /** Until every agent has said what the phase waits for; the ConfigMap reaches it as kubelets bring it. */
      const acknowledged = async (phase: string) => {
        expect(mesh.authority.status().phase).to.equal(phase)
        await mesh.mount()
        await until(
          async () => {
            await mesh.authority.tick()
            return mesh.authority.status().waiting.length === 0
          },
          () => `acknowledgement by ${mesh.authority.status().waiting}`,
          15_000,
        )
        expect(mesh.authority.status().phase, 'before it has settled').to.equal(phase)
        await more()
        mesh.turn(61_000)
        await mesh.authority.tick()
        await mesh.crash()
      }
      await more()

      await mesh.authority.rotate()
      await mesh.crash()
      await mesh.authority.tick()
      await mesh.crash()
      expect(mesh.authority.signer()).to.equal(first)
      expect(mesh.authority.status().waiting).to.have.length(2)
      await acknowledged('trusting')
      expect(mesh.authority.signer()).to.not.equal(first)
      expect(mesh.authority.trust()).to.include(old.trim())
      await acknowledged('retiring')
      expect(mesh.authority.status().phase).to.equal('steady')
      expect(mesh.authority.trust()).to.not.include(old.trim())
      await mesh.mount()
      await until(() => mesh.agents.every(({ log }) => log.messages('info').filter(isTrust).length >= 3), 'the end')
      await more()
      await Promise.all(running.map((each) => each.stop()))
      expect(running.map((each) => each.summary())).to.deep.equal(['', '', '', ''])
    }).timeout(60_000)

    it('keep serving while the authority is away, and come when it is back', async () => {
      const client = mesh.addCaller('node1', 'shop/client')
      const late = mesh.addCaller('node1', 'elsewhere/late')
      await both()
      const running = load(client)
      await until(() => running.succeeded() > 10)
      await mesh.stopController()
      const before = running.succeeded()
      const refused = await call(late)
      expect(refused).to.deep.equal({ status: 503, reason: 'no_identity' })
      await until(() => running.succeeded() > before + 20)
      await mesh.startController()
      await until(async () => (await call(late)).status === 200, 'the late certificate', 15_000)
      expect(running.summary()).to.equal('')
    }).timeout(40_000)

    describe('a controller that can not prove itself', () => {
      let folder: string
      let impostor: TlsServer
      let heard = 0

      beforeEach(() => {
        folder = mkdtempSync(join(tmpdir(), 'weft-test-'))
        heard = 0
      })
      afterEach(() => {
        impostor.closeAllConnections()
        impostor.close()
        rmSync(folder, { recursive: true })
      })

      it('is never listened to', async () => {
        const root = testRoot()
        const trust = join(folder, 'trust')
        mkdirSync(trust)
        writeFileSync(join(trust, 'bundle.pem'), root.pem)
        writeFileSync(join(trust, 'controller'), 'spiffe://cluster.local/ns/weft-system/sa/weft-controller')
        writeFileSync(join(trust, 'signer'), root.id)
        const leaf = testLeaf(root, 'spiffe://cluster.local/ns/weft-system/sa/weft-agent')
        impostor = createTls({ key: leaf.keyPem, cert: leaf.pem }, (_incoming, response) => {
          heard++
          response.end('{}')
        })
        await new Promise<void>((resolve) => impostor.listen(0, '127.0.0.1', resolve))
        const { port } = impostor.address() as AddressInfo
        const cheated = await mesh.startAgent('node1', { trustFolder: trust, controller: `https://127.0.0.1:${port}` })
        const honest = await mesh.startAgent('node2', { trustFolder: trust })
        const problem = async (page: (path: string) => Promise<string>) =>
          JSON.parse(await page('/debug/identities')).trouble
        await until(async () => (await problem(cheated.page)).includes("the controller's certificate is of spiffe:"))
        await until(async () => /unable to|self.signed/i.test(await problem(honest.page)))
        expect(heard).to.equal(0)
        expect(mesh.asked).to.deep.equal([])
        for (const { agent } of mesh.agents) {
          expect(agent.link.status).to.include({ isConnected: false, applied: 0 })
          expect(agent.ready.isReady).to.equal(false)
        }
      })
    })
  },
  { crds: false },
)

function isTrust(message: string): boolean {
  return message === 'the trust bundle has changed'
}
