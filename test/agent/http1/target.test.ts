// Canonical paths: the string that is authorised is the string that is forwarded.

import { expect } from 'chai'
import { canonicalPath, parseAuthority } from '../../../agent/http1/target.ts'

describe('http1/target', () => {
  const same = ['/', '/a', '/a/b/', '/a.b', '/a%20b', '/a;b=c', '/a%2Fb', '/.well-known/x', '/a:b@c', "/!$&'()*+,="]
  for (const path of same) it(`leaves ${path} as it is`, () => expect(canonicalPath(path)).to.equal(path))

  const changed: [string, string][] = [
    ['//a', '/a'],
    ['/a//b', '/a/b'],
    ['/a/./b', '/a/b'],
    ['/a/../b', '/b'],
    ['/../a', '/a'],
    ['/a/..', '/'],
    ['/a/.', '/a/'],
    ['/a/%2e%2e/b', '/b'],
    ['/a/.%2E/b', '/b'],
    ['/%61', '/a'],
    ['/a%2fb', '/a%2Fb'],
    ['/%7Euser', '/~user'],
    ['/%c3%a4', '/%C3%A4'],
  ]
  for (const [path, canonical] of changed) {
    it(`makes ${path} ${canonical}`, () => expect(canonicalPath(path)).to.equal(canonical))
  }

  const refused = [
    '/a\\b',
    '/a%5cb',
    '/a%00',
    '/a#b',
    '/a%',
    '/a%2',
    '/a%zz',
    '/..;/b',
    '/a/..%2fb',
    '/%2e%2e%2fb',
    '/.;a/b',
  ]
  for (const path of [...refused, '/%c0%ae%c0%ae/', '/%e0%80%ae', '/ä', '/a\x7f', '/a b', '/a%0d%0a']) {
    it(`refuses ${JSON.stringify(path)}`, () => expect(canonicalPath(path)).to.equal(null))
  }

  const hosts: [string, string, number][] = [
    ['web.shop:8080', 'web.shop', 8080],
    ['WEB.shop.', 'web.shop', 0],
    ['10.1.2.3:80', '10.1.2.3', 80],
    ['[::1]', '[::1]', 0],
    ['[FD00::3]:8080', '[fd00::3]', 8080],
    ['[::ffff:10.1.2.3]:80', '[::ffff:10.1.2.3]', 80],
  ]
  for (const [raw, host, port] of hosts) {
    it(`reads ${raw} as ${host} and ${port}`, () => {
      const text = port === 0 ? host : `${host}:${port}`
      expect(parseAuthority(raw)).to.deep.equal({ host, port, text })
    })
  }

  for (const raw of [
    '',
    ':80',
    '::1',
    '::1:80',
    'fd00::3',
    '[::1',
    '[::1]80',
    '[::1].',
    '[::1].:80',
    '[::::]',
    '[1.2.3.4]',
    '[fe80::1%eth0]',
    '[fe80::1%25eth0]',
    '[]',
    '[web]',
    'a b',
    'a..b',
    'web:0',
    'web:65536',
  ]) {
    it(`takes no Host ${JSON.stringify(raw)}`, () => expect(parseAuthority(raw)).to.equal(null))
  }

  it('is stable: what came out goes in unchanged', () => {
    for (const [, canonical] of changed) expect(canonicalPath(canonical)).to.equal(canonical)
  })
})
