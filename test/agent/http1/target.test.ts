// Canonical paths: the string that is authorised is the string that is forwarded.

import { expect } from 'chai'
import { canonicalPath } from '../../../agent/http1/target.ts'

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

  it('is stable: what came out goes in unchanged', () => {
    for (const [, canonical] of changed) expect(canonicalPath(canonical)).to.equal(canonical)
  })
})
