// Certificates on a data thread: contexts by account and server name, waiting for what is missing; keys and their PEM.

import { createPrivateKey } from 'node:crypto'
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'chai'
import { MeshError } from '../../../agent/errors.ts'
import { type Credentials, makeCredentials } from '../../../agent/identity/credentials.ts'
import { keyPem, makeKey } from '../../../agent/identity/key.ts'
import { sniLabel } from '../../../agent/identity/sni.ts'
import { makeTrust, readTrust } from '../../../agent/identity/trust.ts'
import { formatIdentity } from '../../../controller/contract/identity.ts'
import { testLeaf, testRoot, withFolder } from '../../support/certificates.ts'
import { FakeClock } from '../../support/clock.ts'

const id = (account: string) => formatIdentity('cluster.local', account)
const label = (account: string) => sniLabel(id(account))

describe('identity: credentials', () => {
  const root = testRoot()
  let clock: FakeClock
  let asked: string[]
  let forgotten: string[]
  let credentials: Credentials
  const give = (account: string, expires = clock.wall() + 3_600_000) => {
    const { key, pem } = testLeaf(root, id(account))
    credentials.accept({ type: 'certificate', account, key, chain: pem, expires })
  }

  beforeEach(() => {
    clock = new FakeClock()
    asked = []
    forgotten = []
    credentials = makeCredentials(clock, (account) => asked.push(account))
    credentials.onForget((account) => forgotten.push(account))
    credentials.accept({ type: 'trust', bundle: root.pem, trustDomain: 'cluster.local' })
  })

  it('are found by account and by server name, in any case, and exactly', () => {
    give('shop/reviews')
    give('shop/ratings')
    const found = credentials.get('shop/reviews')
    expect(found?.account).to.equal('shop/reviews')
    const name = label('shop/reviews')
    expect(credentials.bySni(name)).to.equal(found)
    expect(credentials.bySni(name.toUpperCase())).to.equal(found)
    for (const wrong of [
      '',
      `${name}.`,
      `.${name}`,
      name.slice(1),
      `${name}\0`,
      'shop/reviews',
      '__proto__',
      label('shop/other'),
    ])
      expect(credentials.bySni(wrong)).to.equal(null)
  })

  it('keep one context for an account until it is renewed', () => {
    give('shop/reviews')
    const first = credentials.get('shop/reviews')!
    expect(credentials.get('shop/reviews')!.context).to.equal(first.context)
    give('shop/reviews')
    expect(credentials.get('shop/reviews')!.context).to.not.equal(first.context)
  })

  it('get new contexts with a new bundle', () => {
    give('shop/reviews')
    const first = credentials.get('shop/reviews')!
    credentials.accept({ type: 'trust', bundle: root.pem + testRoot().pem, trustDomain: 'cluster.local' })
    expect(credentials.get('shop/reviews')!.context).to.not.equal(first.context)
    expect(credentials.get('shop/reviews')!.expires).to.equal(first.expires)
  })

  it('are gone when they expire and when they are forgotten', () => {
    give('shop/reviews', clock.wall() + 1_000)
    clock.tick(1_000)
    expect(credentials.get('shop/reviews')).to.equal(null)
    expect(credentials.bySni(label('shop/reviews'))).to.equal(null)
    give('shop/reviews')
    credentials.accept({ type: 'forget', account: 'shop/reviews' })
    expect(credentials.get('shop/reviews')).to.equal(null)
    expect(credentials.bySni(label('shop/reviews'))).to.equal(null)
    expect(forgotten).to.deep.equal(['shop/reviews'])
  })

  it('are waited for by all callers of an account, and asked for', async () => {
    const both = Promise.all([credentials.need('shop/reviews', 3_000), credentials.need('shop/reviews', 3_000)])
    expect(asked).to.deep.equal(['shop/reviews', 'shop/reviews'])
    give('shop/reviews')
    const [one, two] = await both
    expect(one).to.equal(two)
    expect(clock.pending).to.equal(0)
    expect(await credentials.need('shop/reviews', 3_000)).to.equal(one)
    expect(asked).to.have.length(2)
  })

  it('end the wait with no_identity', async () => {
    const waiting = credentials.need('shop/reviews', 3_000).catch((thrown) => thrown)
    clock.tick(3_000)
    const thrown = await waiting
    expect(thrown).to.be.instanceOf(MeshError).with.property('reason', 'no_identity')
    expect(thrown.message).to.include('shop/reviews')
  })

  it('are waited for by a bounded number of callers', async () => {
    const all = Array.from({ length: 1_001 }, (_, number) =>
      credentials.need(`shop/a${number}`, 3_000).catch((thrown) => thrown),
    )
    expect((await all.at(-1)).message).to.include('1000 callers wait')
    clock.tick(3_000)
    for (const each of all) expect((await each).reason).to.equal('no_identity')
  })
})

describe('identity: keys', () => {
  it('are written as PEM that OpenSSL reads back, into a buffer', () => {
    for (let count = 0; count < 20; count++) {
      const { privateKey } = makeKey()
      const pem = keyPem(privateKey)
      expect(pem.toString()).to.equal(privateKey.export({ type: 'pkcs8', format: 'pem' }))
      expect(createPrivateKey(pem).equals(privateKey)).to.equal(true)
    }
  })
})

describe('identity: server names', () => {
  it('are one DNS label of its own for each identity, however long that is', () => {
    const long = `spiffe://cluster.local/ns/${'n'.repeat(63)}/sa/${'a'.repeat(253)}`
    expect(sniLabel(long)).to.match(/^w[0-9a-f]{40}$/)
    expect(sniLabel(long)).to.not.equal(sniLabel(`${long.slice(0, -1)}b`))
  })
})

describe('identity: trust', () => {
  const controller = 'spiffe://cluster.local/ns/weft-system/sa/weft-controller'
  const root = testRoot()

  it('is read from a mounted ConfigMap', () => {
    withFolder((folder) => {
      mkdirSync(join(folder, '..data-1'))
      for (const [name, text] of Object.entries({
        'bundle.pem': root.pem,
        controller: `${controller}\n`,
        signer: root.id,
      })) {
        writeFileSync(join(folder, '..data-1', name), text)
        symlinkSync(join('..data-1', name), join(folder, name))
      }
      const trust = readTrust(folder)
      expect(trust).to.include({ controller, trustDomain: 'cluster.local', signer: root.id })
    })
  })

  it('says what is missing', () => {
    withFolder((folder) => {
      expect(() => readTrust(folder)).to.throw(/bundle.pem/)
    })
    expect(() => makeTrust('', controller, '')).to.throw(/no certificate/)
    expect(() => makeTrust(root.pem, 'controller', '')).to.throw(/no SPIFFE ID/)
  })

  it('has a hash that depends on the certificates alone', () => {
    const { hash } = makeTrust(root.pem, controller, '')
    expect(makeTrust(`# comment\n${root.pem}\n\n`, controller, '').hash).to.equal(hash)
    expect(makeTrust(root.pem + testRoot().pem, controller, '').hash).to.not.equal(hash)
  })
})
