// Names of Services as people write them in SMI objects, and those that the mesh makes.

import { expect } from 'chai'
import { aliasName, isLabel, isSubdomain, readServiceName, shadowName } from '../../../controller/resolve/names.ts'
import { defaultSettings } from '../../../controller/resolve/settings.ts'

describe('names of Services', () => {
  const read = (value: unknown) => readServiceName(value, 'shop', defaultSettings)

  for (const text of [
    'web',
    'WEB',
    'web.',
    'web:80',
    'web.shop',
    'web.shop.svc',
    'web.shop.svc.cluster.local',
    'web.shop.svc.cluster.local.',
    'web.shop.svc.cluster.local.:9091',
    'web.shop.mesh.internal',
  ]) {
    it(`reads ${text}`, () => expect(read(text)).to.deep.equal({ name: 'web' }))
  }

  for (const text of [
    '',
    '.',
    'web..svc',
    'web.shop.pod',
    'web.shop.svc.example.com',
    'app.example.com',
    'a/b',
    'we_b',
    'x'.repeat(64),
    5,
    null,
  ]) {
    it(`refuses ${JSON.stringify(text)}`, () => expect(read(text)).to.have.property('error'))
  }

  it('refuses other namespaces, and says so', () => {
    expect(read('web.bank')).to.have.property('error').that.includes('"bank"').and.includes('"shop"')
  })
})

describe('names that the mesh makes', () => {
  it('cuts a Service to 46 characters and adds 16 hex digits of a hash', () => {
    const long = shadowName(`shop/${'a'.repeat(63)}`)
    expect(long).to.match(/^a{46}-[0-9a-f]{16}$/)
    expect(isLabel(long)).to.equal(true)
  })

  it('differs for equal names in other namespaces, and for names that are cut to the same', () => {
    expect(shadowName('a/web')).to.not.equal(shadowName('b/web'))
    expect(shadowName(`a/${'x'.repeat(50)}1`)).to.not.equal(shadowName(`a/${'x'.repeat(50)}2`))
  })

  it('stays a label if the cut falls on a dash', () => {
    expect(isLabel(shadowName(`shop/${'a'.repeat(45)}-b`))).to.equal(true)
  })

  it('makes no alias that is longer than a name may be', () => {
    expect(aliasName(`shop/${'a'.repeat(58)}`, '-mesh')).to.have.length(63)
    expect(aliasName(`shop/${'a'.repeat(59)}`, '-mesh')).to.equal(null)
  })
})

describe('forms of names', () => {
  it('tells subdomains from paths and patterns', () => {
    expect(isSubdomain('a.b-c.d')).to.equal(true)
    for (const text of ['', 'a..b', 'A', 'a/b', '*', 'a.*', `${'a'.repeat(63)}.`.repeat(5)])
      expect(isSubdomain(text)).to.equal(false)
  })
})
