// Identity on the control thread as a whole: waits for the mounted trust, follows it, and says what it lacks.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { type IdentityPart, startIdentity } from '../../../agent/identity/identity.ts'
import type { IdentityMessage } from '../../../agent/identity/messages.ts'
import { bundleHash } from '../../../controller/contract/pem.ts'
import { testRoot } from '../../support/certificates.ts'
import { FakeClock } from '../../support/clock.ts'
import { until } from '../../support/until.ts'

describe('identity: control thread', () => {
  const first = testRoot()
  const second = testRoot()
  let folder: string
  let clock: FakeClock
  let identity: IdentityPart
  let published: IdentityMessage[]
  let changes: number
  let lines: string[]

  const mount = (bundle: string, signer: string) => {
    writeFileSync(join(folder, 'bundle.pem'), bundle)
    writeFileSync(join(folder, 'controller'), 'spiffe://cluster.local/ns/weft-system/sa/weft-controller')
    writeFileSync(join(folder, 'signer'), signer)
  }

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'weft-test-'))
    clock = new FakeClock()
    published = []
    changes = 0
    lines = []
  })
  afterEach(async () => {
    await identity.stop()
    rmSync(folder, { recursive: true })
  })

  function start(): void {
    identity = startIdentity({
      trustFolder: folder,
      controller: 'https://127.0.0.1:9',
      tokenFile: join(folder, 'token'),
      clock,
      random: () => 0.5,
      publish: (message) => published.push(message),
      changed: () => changes++,
      log: (_level, fields, message) => lines.push(`${message} ${fields['error'] ?? fields['problem'] ?? ''}`),
    })
  }

  it('waits for the trust bundle, and says so once', async () => {
    start()
    let isTrusted = false
    const trusted = identity.trusted.then(() => {
      isTrusted = true
    })
    clock.tick(10_000)
    expect(lines).to.have.length(1)
    expect(identity.trouble()).to.include(folder)
    expect(() => identity.dispatcher()).to.throw(/whom to trust/)
    expect(identity.report()).to.deep.equal({})
    identity.retain(new Set(['shop/reviews', 'shop/ratings']), new Set(['shop/reviews']))
    expect(isTrusted).to.equal(false)
    mount(first.pem, first.id)
    clock.tick(1_000)
    await trusted
    expect(identity.dispatcher()).to.be.an('object')
    expect(published).to.deep.equal([{ type: 'trust', bundle: first.pem, trustDomain: 'cluster.local' }])
    // What was said before is not lost: its own certificate, and those wanted ahead of time.
    expect(identity.list().map(({ account }) => account)).to.deep.equal(['weft-system/weft-agent', 'shop/reviews'])
  })

  it('follows the mounted bundle, and reports what is in force', () => {
    mount(first.pem, first.id)
    start()
    const before = identity.dispatcher()
    expect(identity.report()).to.deep.equal({ trust: bundleHash(first.pem), signers: [] })
    mount(first.pem + second.pem, first.id)
    clock.tick(5_000)
    expect(identity.report().trust).to.equal(bundleHash(first.pem + second.pem))
    expect(published.at(-1)).to.deep.include({ type: 'trust', bundle: first.pem + second.pem })
    expect(identity.dispatcher()).to.not.equal(before)
    expect(changes).to.equal(1)
    // Half-way through a replacement the old one stays.
    mount('', second.id)
    clock.tick(5_000)
    expect(identity.report().trust).to.equal(bundleHash(first.pem + second.pem))
    mount(second.pem, second.id)
    clock.tick(5_000)
    expect(identity.report().trust).to.equal(bundleHash(second.pem))
  })

  it('says why there is no certificate', async () => {
    mount(first.pem, first.id)
    start()
    await until(() => identity.trouble().includes('token'))
    expect(identity.trouble()).to.match(/^the agent's own certificate: .*token/)
    writeFileSync(join(folder, 'token'), 'x')
    clock.tick(2_000)
    await until(() => identity.trouble().includes('ECONNREFUSED'))
  })
})
