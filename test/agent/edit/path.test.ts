// Redirects and rewrites by prefix, always to a canonical path.

import { expect } from 'chai'
import { redirection, rewritePath } from '../../../agent/edit/path.ts'

describe('edit path', () => {
  describe('redirect', () => {
    const cases: [prefix: string, location: string, path: string, query: string, expected: string | null][] = [
      ['/old', '/new', '/old', '', '/new'],
      ['/old', '/new', '/old/a', 'q=1', '/new/a?q=1'],
      ['/old', '/new', '/old/', '', '/new/'],
      ['/old', '/new', '/older', '', null],
      ['/old/', '/new/', '/old/a', '', '/new/a'],
      ['/old/', '/new/', '/old', '', null],
      ['/old', 'https://example.com/x', '/old/a', '', 'https://example.com/x/a'],
      ['/', 'https://example.com/', '/a/b', '', 'https://example.com/a/b'],
      ['/', 'https://example.com', '/a/b', '', 'https://example.com/a/b'],
      ['/', '/shop', '/a', '', '/shop/a'],
      ['/', '/shop', '/shop', '', null],
      ['/', '/shop', '/shop/a', '', null],
      ['/a', '/a', '/a/b', '', null],
      ['/old', '/', '/old//evil.example', '', '/evil.example'],
      ['', '/x', '/a', '', null],
      ['/old', '/x\r\nset-cookie: a=b', '/old', '', null],
    ]
    for (const [prefix, location, path, query, expected] of cases) {
      it(`${prefix} to ${JSON.stringify(location)}: ${path} goes to ${expected ?? 'nowhere'}`, () => {
        const found = redirection({ redirect: { status: 308, prefix, location } }, path, query)
        expect(found).to.deep.equal(expected === null ? null : { status: 308, location: expected })
      })
    }

    it('answers with 302 where the policy names no redirect status', () => {
      const found = redirection({ redirect: { status: 200, prefix: '/a', location: '/b' } }, '/a', '')
      expect(found).to.deep.equal({ status: 302, location: '/b' })
    })

    it('does nothing without a policy', () => expect(redirection({}, '/a', '')).to.equal(null))
  })

  describe('rewrite', () => {
    const cases: [prefix: string, replacement: string, path: string, expected: string][] = [
      ['/api', '/', '/api/users', '/users'],
      ['/api', '', '/api/users', '/users'],
      ['/api', '', '/api', '/'],
      ['/api', '/v1', '/api', '/v1'],
      ['/api/', '/v1/', '/api/users', '/v1/users'],
      ['/api', '/v1', '/apix', '/apix'],
      ['/api', '/v1', '/other', '/other'],
      ['/', '/base', '/a', '/base/a'],
      ['/api', '/a/../b', '/api/c', '/b/c'],
      ['/api', '/%2e%2e', '/api/c', '/c'],
      ['/api', 'x', '/api/c', '/x/c'],
    ]
    for (const [prefix, replacement, path, expected] of cases) {
      it(`${prefix} by ${JSON.stringify(replacement)}: ${path} becomes ${expected}`, () => {
        expect(rewritePath({ rewrite: { prefix, replacement } }, path)).to.equal(expected)
      })
    }

    it('leaves a path alone where the replacement can not be made canonical', () => {
      expect(rewritePath({ rewrite: { prefix: '/api', replacement: '/%zz' } }, '/api/c')).to.equal('/api/c')
      expect(rewritePath({ rewrite: { prefix: '/api', replacement: '/a b' } }, '/api/c')).to.equal('/api/c')
    })

    it('does nothing without a policy', () => expect(rewritePath({}, '/a')).to.equal('/a'))
  })
})
