// The root in the ValidatingWebhookConfiguration: who writes it, when, and what is left alone.

import { expect } from 'chai'
import { type BundleKeeper, keepBundle } from '../../../controller/admission/bundle.ts'
import { ApiError } from '../../../controller/errors.ts'
import type { Api } from '../../../controller/observe/api.ts'
import { testLog } from '../../support/authority.ts'
import { FakeClock } from '../../support/clock.ts'
import { until } from '../../support/until.ts'

interface Webhook {
  name: string
  clientConfig: { service?: object; url?: string; caBundle?: string }
}

describe('admission: the root in the configuration', () => {
  const encoded = (text: string) => Buffer.from(text).toString('base64')
  let clock: FakeClock
  let log: ReturnType<typeof testLog>
  let stored: { metadata: object; webhooks?: Webhook[] } | null
  let refusal: ApiError | null
  let writes: number
  let reads: number
  let isLeader: boolean
  /** Somebody else changes the object before the next write. */
  let isTaken: boolean
  let trust: string | null
  let keeper: BundleKeeper

  beforeEach(() => {
    clock = new FakeClock()
    log = testLog()
    stored = { metadata: { name: 'weft-smi' }, webhooks: [{ name: 'a', clientConfig: { service: { name: 's' } } }] }
    refusal = null
    writes = 0
    reads = 0
    isLeader = true
    isTaken = false
    trust = 'root-1'
  })
  afterEach(() => keeper.stop())

  const request = async (method: string, _path: string, options?: { body?: unknown }) => {
    if (method === 'GET') {
      reads++
      if (refusal !== null) throw refusal
      if (stored === null) throw new ApiError('gone', { status: 404 })
      return structuredClone(stored)
    }
    if (isTaken) {
      isTaken = false
      throw new ApiError('somebody was faster', { status: 409 })
    }
    writes++
    stored = structuredClone(options?.body) as typeof stored
    return stored
  }

  function start(): void {
    const api = { request } as unknown as Pick<Api, 'request'>
    keeper = keepBundle({ api, clock, log, isLeader: () => isLeader, trust: () => trust })
  }

  const sleeps = () => until(() => clock.pending > 0, 'the keeper to sleep')
  const turn = async (ms: number) => {
    const before = reads
    clock.tick(ms)
    await until(() => reads > before && clock.pending > 0, 'another look')
  }
  const bundles = () => stored?.webhooks?.map(({ clientConfig }) => clientConfig.caBundle)

  it('is written once, and again when somebody took it out', async () => {
    start()
    await sleeps()
    expect(bundles()).to.deep.equal([encoded('root-1')])
    await turn(10_000)
    expect(writes).to.equal(1)
    delete stored!.webhooks![0]!.clientConfig.caBundle
    await turn(10_000)
    expect(bundles()).to.deep.equal([encoded('root-1')])
    expect(log.lines.map(({ level }) => level)).to.deep.equal(['info', 'info'])
  })

  it('follows the root at once', async () => {
    start()
    await sleeps()
    trust = 'root-1 and root-2'
    keeper.poke()
    await until(() => bundles()?.[0] === encoded('root-1 and root-2'), 'the new root')
  })

  it('is the leader’s affair, once there is a root', async () => {
    isLeader = false
    start()
    await sleeps()
    isLeader = true
    trust = null
    keeper.poke()
    await sleeps()
    expect(reads).to.equal(0)
    trust = 'root-1'
    keeper.poke()
    await until(() => bundles()?.[0] === encoded('root-1'), 'the root')
  })

  it('leaves webhooks alone that are reached by a URL, and what else the object has', async () => {
    const other = { name: 'b', clientConfig: { url: 'https://example.test', caBundle: 'x' } }
    stored!.webhooks!.push(other)
    Object.assign(stored!.metadata, { labels: { a: 'b' }, resourceVersion: '7' })
    start()
    await sleeps()
    expect(stored!.webhooks![1]).to.deep.equal(other)
    expect(stored!.metadata).to.deep.equal({ name: 'weft-smi', labels: { a: 'b' }, resourceVersion: '7' })
  })

  it('wants nothing where the object is absent or empty', async () => {
    stored = null
    start()
    await sleeps()
    stored = { metadata: { name: 'weft-smi' } }
    await turn(10_000)
    expect(writes).to.equal(0)
    expect(log.lines).to.deep.equal([])
  })

  it('looks again after a conflict, without a word', async () => {
    isTaken = true
    start()
    await sleeps()
    expect(bundles()).to.deep.equal([undefined])
    await turn(10_000)
    expect(bundles()).to.deep.equal([encoded('root-1')])
    expect(log.lines.map(({ level }) => level)).to.deep.equal(['info'])
  })

  it('says once that a right is missing, and goes on', async () => {
    refusal = new ApiError('forbidden', { status: 403 })
    start()
    await sleeps()
    await turn(10_000)
    expect(log.lines.map(({ level }) => level)).to.deep.equal(['warn'])
    refusal = null
    await turn(10_000)
    expect(bundles()).to.deep.equal([encoded('root-1')])
  })
})
