// The life of roots: first start, rotation with acknowledgements, crashes in between, replicas beside each other.

import { X509Certificate } from 'node:crypto'
import { expect } from 'chai'
import { makeKey } from '../../../agent/identity/key.ts'
import { makeRequest } from '../../../agent/identity/request.ts'
import type { Authority } from '../../../controller/authority/authority.ts'
import { RootError } from '../../../controller/authority/root.ts'
import { bundleHash, splitPem } from '../../../controller/contract/pem.ts'
import { agentPod, memoryStore, testAuthority, testPod, testPods } from '../../support/authority.ts'
import { testRoot } from '../../support/certificates.ts'
import { FakeClock } from '../../support/clock.ts'

const identity = 'spiffe://cluster.local/ns/shop/sa/reviews'

async function signedBy(authority: Authority): Promise<string> {
  const csr = makeRequest(makeKey()).toString('base64')
  const answer = await authority.sign('Bearer agent.n1', { identity, csr })
  const leaf = new X509Certificate(answer.chain[0]!)
  const signer = splitPem(answer.bundle).find((root) => leaf.verify(new X509Certificate(root).publicKey))
  expect(signer, 'the bundle trusts what was signed').to.be.a('string')
  return signer!
}

function acknowledge(
  authority: Authority,
  node: string,
  trust: string,
  signers: string[] = [authority.signer()],
): void {
  const pod = `weft-agent-${node}`
  authority.acknowledge({ node, pod, version: '1', error: null, trust: bundleHash(trust), signers })
}

describe('authority: first start', () => {
  it('makes a root of ten years in a Secret of kubernetes.io/tls, and publishes the bundle', async () => {
    const { store, authority, clock } = await testAuthority()
    const secret = store.objects.get('secrets/weft-root')!
    expect(secret.type).to.equal('kubernetes.io/tls')
    expect(Object.keys(secret.data)).to.have.members(['tls.crt', 'tls.key', 'ca.crt'])
    const root = new X509Certificate(secret.data['tls.crt']!)
    expect(root.ca).to.equal(true)
    expect(root.validToDate.getTime() - clock.wall()).to.be.within(3649 * 86_400_000, 3650 * 86_400_000)
    const trust = store.objects.get('configmaps/weft-trust')!
    expect(trust.data).to.deep.equal({
      'bundle.pem': secret.data['ca.crt'],
      controller: 'spiffe://cluster.local/ns/weft-system/sa/weft-controller',
      signer: authority.signer(),
    })
  })

  it('is one root for five replicas that start at once, whichever writes first', async () => {
    const store = memoryStore()
    store.beforeWrite = () => new Promise((resolve) => setImmediate(resolve))
    const all = await Promise.all([1, 2, 3, 4, 5].map(() => testAuthority({ store })))
    expect(new Set(all.map(({ authority }) => authority.signer())).size).to.equal(1)
    expect(store.writes.filter((write) => write === 'create weft-root')).to.have.length(1)
    expect(store.writes.filter((write) => write === 'create weft-authority')).to.have.length(1)
  })

  it('takes a root that was given, and leaves its Secret alone', async () => {
    const given = testRoot(Date.now(), 900 * 86_400_000)
    const store = memoryStore()
    const data = { 'tls.crt': given.pem, 'tls.key': given.key.export({ type: 'pkcs8', format: 'pem' }) as string }
    await store.create('secrets', 'weft-root', { type: 'kubernetes.io/tls', labels: {}, annotations: {}, data })
    const { authority } = await testAuthority({ store })
    expect(authority.signer()).to.equal(given.id)
    expect(await signedBy(authority)).to.equal(given.pem.trim())
    await authority.rotate().then(
      () => expect.fail('a given root was replaced'),
      (thrown) => expect(thrown).to.be.instanceOf(RootError).with.property('message').that.includes('was given'),
    )
    expect(store.writes).to.not.include('replace weft-root')
  })

  it('refuses to start on a root that can not be used, naming what is wrong', async () => {
    const store = memoryStore()
    const data = { 'tls.crt': 'x', 'tls.key': 'y' }
    await store.create('secrets', 'weft-root', { type: 'kubernetes.io/tls', labels: {}, annotations: {}, data })
    const thrown = await testAuthority({ store }).catch((error) => error)
    expect(thrown).to.be.instanceOf(RootError)
    expect(thrown.message).to.include('tls.crt')
  })
})

describe('authority: rotation', () => {
  const pods = () =>
    testPods(
      agentPod('n1'),
      agentPod('n2'),
      agentPod('n3', { ready: false }),
      testPod('shop/reviews-1', 'n1', 'reviews'),
    )

  it('trusts the new root everywhere, then signs with it, then retires the old one', async () => {
    const { authority, store, clock } = await testAuthority({ pods: pods() })
    const first = await signedBy(authority)
    const published = () => splitPem(store.objects.get('configmaps/weft-trust')!.data['bundle.pem']!)
    await authority.rotate()
    await authority.tick()
    expect(authority.status().phase).to.equal('trusting')
    expect(authority.status().waiting).to.have.members(['weft-system/weft-agent-n1', 'weft-system/weft-agent-n2'])
    expect(published()).to.have.length(2)
    expect(await signedBy(authority)).to.equal(first)

    // One agent is not enough, nor one that reports another bundle.
    acknowledge(authority, 'n1', authority.trust())
    acknowledge(authority, 'n2', first)
    clock.tick(3_600_000)
    await authority.tick()
    expect(authority.status()).to.deep.include({ phase: 'trusting', waiting: ['weft-system/weft-agent-n2'] })
    acknowledge(authority, 'n2', authority.trust())
    const old = authority.signer()
    await authority.tick()
    expect(authority.status().phase).to.equal('retiring')
    expect(published()).to.have.length(2)
    expect(await signedBy(authority)).to.not.equal(first)
    expect(JSON.stringify(store.objects.get('secrets/weft-authority')), 'the old key is gone').to.not.include(old)

    // n1 has renewed, n2 still has a certificate of the old root.
    acknowledge(authority, 'n1', authority.trust())
    acknowledge(authority, 'n2', authority.trust(), [old, authority.signer()])
    clock.tick(3_600_000)
    await authority.tick()
    expect(authority.status()).to.deep.include({ phase: 'retiring', waiting: ['weft-system/weft-agent-n2'] })
    acknowledge(authority, 'n2', authority.trust())
    await authority.tick()
    expect(authority.status()).to.deep.include({ phase: 'steady', waiting: [] })
    expect(published()).to.have.length(1)
    expect(published()[0]).to.not.equal(first)
    await authority.tick()
    expect(store.objects.get('configmaps/weft-rotation')?.data).to.deep.equal({})
  })

  it('retires the old root when its last certificate has expired, whatever agents say', async () => {
    const { authority, clock } = await testAuthority({ pods: pods() })
    await authority.rotate()
    await authority.tick()
    for (const node of ['n1', 'n2']) acknowledge(authority, node, authority.trust())
    clock.tick(61_000)
    await authority.tick()
    const old = 'something old'
    for (const node of ['n1', 'n2']) acknowledge(authority, node, authority.trust(), [old])
    clock.tick(86_400_000)
    await authority.tick()
    expect(authority.status().phase).to.equal('retiring')
    clock.tick(300_000)
    await authority.tick()
    expect(authority.status().phase).to.equal('steady')
  })

  it('goes on where it stood after a crash before any write', async () => {
    const store = memoryStore()
    const clock = new FakeClock(0, Date.now())
    const all = pods()
    const open = () => testAuthority({ store, clock, pods: all }).then(({ authority }) => authority)
    let authority = await open()
    const first = await signedBy(authority)
    await authority.rotate()
    let crashes = 0
    const phases: string[] = []
    for (let round = 0; round < 40 && phases.at(-1) !== 'done'; round++) {
      clock.tick(61_000)
      for (const node of ['n1', 'n2']) acknowledge(authority, node, authority.trust())
      // The first write of each tick fails once, and the process with it.
      let isArmed = round % 2 === 0
      store.beforeWrite = async () => {
        if (!isArmed) return
        isArmed = false
        crashes++
        throw new Error('crash')
      }
      await authority.tick().catch(() => {})
      store.beforeWrite = async () => {}
      authority = await open()
      await signedBy(authority)
      const { phase } = authority.status()
      if (phases.at(-1) !== phase) phases.push(phase)
      if (phase === 'steady' && (await signedBy(authority)) !== first) phases.push('done')
    }
    expect(phases).to.deep.equal(['steady', 'trusting', 'retiring', 'steady', 'done'])
    expect(crashes).to.be.greaterThan(2)
  })

  it('counts what agents acknowledged to other replicas', async () => {
    const store = memoryStore()
    const clock = new FakeClock(0, Date.now())
    const all = pods()
    const leader = await testAuthority({ store, clock, pods: all, replica: 'a' })
    const other = await testAuthority({ store, clock, pods: all, replica: 'b', isLeader: () => false })
    await leader.authority.rotate()
    await leader.authority.tick()
    await other.authority.tick()
    acknowledge(leader.authority, 'n1', leader.authority.trust())
    acknowledge(other.authority, 'n2', other.authority.trust())
    await other.authority.tick()
    clock.tick(61_000)
    await leader.authority.tick()
    expect(leader.authority.status().phase).to.equal('retiring')
    await other.authority.tick()
    expect(other.authority.signer()).to.equal(leader.authority.signer())
  })

  it('is not moved on by a replica that does not lead', async () => {
    const { authority } = await testAuthority({ pods: pods(), isLeader: () => false })
    await authority.rotate()
    await authority.tick()
    expect(authority.status().phase).to.equal('steady')
  })

  it('begins by itself when the own root has a fifth of its lifetime left', async () => {
    const { authority, clock } = await testAuthority({ pods: pods() })
    const first = authority.signer()
    clock.tick(7.9 * 365 * 86_400_000)
    await authority.tick()
    await authority.tick()
    expect(authority.status().phase).to.equal('steady')
    clock.tick(0.2 * 365 * 86_400_000)
    await authority.tick()
    await authority.tick()
    expect(authority.status().phase).to.equal('trusting')
    expect(authority.status().incoming?.id).to.not.equal(first)
  })

  it('follows a given root when its Secret changes, and back before the new one has signed', async () => {
    const store = memoryStore()
    const roots = [testRoot(Date.now(), 900 * 86_400_000), testRoot(Date.now(), 900 * 86_400_000)]
    const secret = (root: ReturnType<typeof testRoot>) => ({
      type: 'kubernetes.io/tls',
      labels: {},
      annotations: {},
      data: { 'tls.crt': root.pem, 'tls.key': root.key.export({ type: 'pkcs8', format: 'pem' }) as string },
    })
    const put = async (root: ReturnType<typeof testRoot>) => {
      const { version } = (await store.read('secrets', 'weft-root'))!
      await store.replace('secrets', 'weft-root', { ...secret(root), version: version! })
    }
    await store.create('secrets', 'weft-root', secret(roots[0]!))
    const { authority, clock } = await testAuthority({ store, pods: pods() })
    await put(roots[1]!)
    await authority.tick()
    expect(authority.status()).to.deep.include({ phase: 'trusting' })
    await put(roots[0]!)
    await authority.tick()
    expect(authority.status()).to.deep.include({ phase: 'steady' })
    await put(roots[1]!)
    await authority.tick()
    for (const node of ['n1', 'n2']) acknowledge(authority, node, authority.trust())
    clock.tick(61_000)
    await authority.tick()
    expect(authority.signer()).to.equal(roots[1]!.id)
    expect(authority.status().phase).to.equal('retiring')
  })

  it('keeps the root in force when the wanted one can not be used, and says why', async () => {
    const { authority, store, log } = await testAuthority({ pods: pods() })
    const first = authority.signer()
    const broken = store.objects.get('secrets/weft-root')!
    broken.data['tls.key'] = 'not a key'
    await authority.tick()
    await authority.tick()
    expect(authority.signer()).to.equal(first)
    expect(authority.status().problem).to.include('tls.key')
    expect(log.lines.filter(({ level }) => level === 'error')).to.have.length(1)
    await signedBy(authority)
  })

  it('does not wait for anybody where the old root has expired', async () => {
    const store = memoryStore()
    const clock = new FakeClock(0, Date.now())
    await testAuthority({ store, clock, pods: pods() })
    clock.tick(11 * 365 * 86_400_000)
    const { authority } = await testAuthority({ store, clock, pods: pods() })
    await authority.rotate()
    await authority.tick()
    await authority.tick()
    expect(authority.status().phase).to.equal('retiring')
    await signedBy(authority)
  })
})
