// The access rules as a table, decided on a snapshot without a socket.

import { expect } from 'chai'
import { anyRequest, type Cause, denied, isOpen, permit } from '../../../agent/inbound/permit.ts'
import type { MatchInput } from '../../../agent/mesh/match.ts'
import type { AccessRule, RouteMatch } from '../../../controller/contract/resources.ts'
import { input, snapshot } from '../../support/snapshot.ts'

const route = (given: Partial<RouteMatch>): RouteMatch => ({
  name: 'm',
  path: null,
  methods: null,
  headers: [],
  ...given,
})
const rule = (given: Partial<AccessRule>): AccessRule => ({
  name: 'shop/target',
  sources: ['shop/web'],
  ports: null,
  http: null,
  ...given,
})

interface Given {
  /** Rules of the TrafficTargets that name the destination; undefined: none does. */
  rules?: AccessRule[]
  mode?: 'allow' | 'deny'
  byDefault?: 'allow' | 'deny'
}

function world({ rules, mode, byDefault }: Given) {
  return snapshot({
    access: rules === undefined ? [] : [{ kind: 'access', name: 'shop/reviews', rules }],
    namespaces: mode === undefined ? [] : [{ kind: 'namespace', name: 'shop', access: mode }],
    defaultAccess: byDefault ?? 'allow',
  })
}

const get = (path: string, headers = {}) => input('GET', path, headers)
const metrics = rule({ ports: [9091], http: [route({ path: '/metrics', methods: ['GET'] })] })

type Row = [
  title: string,
  given: Given,
  source: string | null,
  port: number,
  request: MatchInput | null,
  is: boolean,
  cause: Cause,
]

const rows: Row[] = [
  // Modes.
  ['no target, default allow', {}, 'shop/web', 80, get('/'), true, 'mode'],
  ['no target, default deny', { byDefault: 'deny' }, 'shop/web', 80, get('/'), false, 'mode'],
  ['no target, namespace denies', { mode: 'deny' }, 'shop/web', 80, get('/'), false, 'mode'],
  [
    'no target, namespace allows under default deny',
    { mode: 'allow', byDefault: 'deny' },
    'shop/web',
    80,
    null,
    true,
    'mode',
  ],
  ['no target, no identity, mode allow', {}, null, 80, get('/'), true, 'mode'],
  ['no target, no identity, mode deny', { mode: 'deny' }, null, 80, get('/'), false, 'mode'],
  [
    'a target is enforced in mode allow',
    { rules: [rule({})], mode: 'allow' },
    'shop/other',
    80,
    get('/'),
    false,
    'source',
  ],
  ['a target permits in mode deny', { rules: [rule({})], mode: 'deny' }, 'shop/web', 80, get('/'), true, 'rule'],
  ['a broken target allows nothing', { rules: [] }, 'shop/web', 80, get('/'), false, 'source'],
  // Sources.
  ['the source', { rules: [rule({})] }, 'shop/web', 80, null, true, 'rule'],
  ['one of several sources', { rules: [rule({ sources: ['a/b', 'shop/web'] })] }, 'shop/web', 80, null, true, 'rule'],
  ['no sources', { rules: [rule({ sources: [] })] }, 'shop/web', 80, null, false, 'source'],
  ['no identity', { rules: [rule({})] }, null, 80, get('/'), false, 'source'],
  [
    'no identity, and a source named like nothing',
    { rules: [rule({ sources: ['', 'null'] })] },
    null,
    80,
    null,
    false,
    'source',
  ],
  ['same name in another namespace', { rules: [rule({})] }, 'evil/web', 80, null, false, 'source'],
  ['a dot is a dot', { rules: [rule({ sources: ['shop/w.b'] })] }, 'shop/web', 80, null, false, 'source'],
  ['a name that only begins alike', { rules: [rule({})] }, 'shop/web2', 80, null, false, 'source'],
  // Ports: TCPRoute.
  ['its port', { rules: [rule({ ports: [9091] })] }, 'shop/web', 9091, null, true, 'rule'],
  ['its port, spoken to in HTTP', { rules: [rule({ ports: [9091] })] }, 'shop/web', 9091, get('/'), true, 'rule'],
  ['another port', { rules: [rule({ ports: [9091] })] }, 'shop/web', 9092, null, false, 'port'],
  ['a missing TCPRoute is not any port', { rules: [rule({ ports: [] })] }, 'shop/web', 9091, null, false, 'port'],
  // Routes: HTTPRouteGroup.
  ['its route', { rules: [rule({ http: [route({ path: '/api' })] })] }, 'shop/web', 80, get('/api/x'), true, 'rule'],
  ['another route', { rules: [rule({ http: [route({ path: '/api' })] })] }, 'shop/web', 80, get('/'), false, 'route'],
  [
    'any request, where one could fit',
    { rules: [rule({ http: [route({ path: '/a' })] })] },
    'shop/web',
    80,
    anyRequest,
    true,
    'rule',
  ],
  ['any request, where none could', { rules: [rule({ http: [] })] }, 'shop/web', 80, anyRequest, false, 'route'],
  ['any request to another port', { rules: [rule({ ports: [1] })] }, 'shop/web', 80, anyRequest, false, 'port'],
  ['any request of another source', { rules: [rule({})] }, 'shop/other', 80, anyRequest, false, 'source'],
  ['a missing group allows nothing', { rules: [rule({ http: [] })] }, 'shop/web', 80, get('/'), false, 'route'],
  [
    'a broken expression allows nothing',
    { rules: [rule({ http: [route({ path: '[' })] })] },
    'shop/web',
    80,
    get('['),
    false,
    'route',
  ],
  [
    'any of several matches',
    { rules: [rule({ http: [route({ path: '/a' }), route({ path: '/b' })] })] },
    'shop/web',
    80,
    get('/b'),
    true,
    'rule',
  ],
  ['a match without conditions', { rules: [rule({ http: [route({})] })] }, 'shop/web', 80, get('/'), true, 'rule'],
  [
    'a route on a connection that is not HTTP',
    { rules: [rule({ http: [route({})] })] },
    'shop/web',
    80,
    null,
    false,
    'opaque',
  ],
  ['a prefix is a prefix', { rules: [metrics] }, 'shop/web', 9091, get('/metricsX'), true, 'rule'],
  // Both: AND.
  ['port and route', { rules: [metrics] }, 'shop/web', 9091, get('/metrics'), true, 'rule'],
  ['port without route', { rules: [metrics] }, 'shop/web', 9091, get('/'), false, 'route'],
  ['port and path without method', { rules: [metrics] }, 'shop/web', 9091, input('POST', '/metrics'), false, 'route'],
  ['the method in lower case', { rules: [metrics] }, 'shop/web', 9091, input('get', '/metrics'), false, 'route'],
  ['route without port', { rules: [metrics] }, 'shop/web', 9092, get('/metrics'), false, 'port'],
  // Several targets: OR.
  [
    'union over targets',
    {
      rules: [
        rule({ name: 'shop/one', sources: ['shop/a'], http: [route({ path: '/api.*' })] }),
        rule({ name: 'shop/two', sources: ['shop/b'], http: [route({ path: '/api/v1' })] }),
      ],
    },
    'shop/b',
    80,
    get('/api/v1'),
    true,
    'rule',
  ],
  [
    'conditions of different targets are not mixed',
    { rules: [rule({ sources: ['shop/a'] }), rule({ ports: [9091] })] },
    'shop/web',
    80,
    null,
    false,
    'port',
  ],
]

describe('inbound permit', () => {
  for (const [title, given, source, port, request, isAllowed, cause] of rows) {
    it(`${title}: ${isAllowed ? 'allowed' : 'denied'}, ${cause}`, () => {
      const verdict = permit(world(given), source, 'shop/reviews', port, request)
      expect(verdict).to.include({ isAllowed, cause })
    })
  }

  it('names the target that allowed it, or came closest', () => {
    const rules = [
      rule({ name: 'shop/other', sources: ['shop/other'] }),
      rule({ name: 'shop/port', ports: [1] }),
      rule({ name: 'shop/route', ports: [80], http: [route({ path: '/a' })] }),
      rule({ name: 'shop/far', sources: ['shop/other'] }),
    ]
    const now = world({ rules })
    const told = (source: string, port: number, path: string) => permit(now, source, 'shop/reviews', port, get(path))
    expect(told('shop/web', 80, '/a')).to.deep.equal({ isAllowed: true, cause: 'rule', rule: 'shop/route' })
    expect(told('shop/web', 80, '/b')).to.deep.equal({ isAllowed: false, cause: 'route', rule: 'shop/route' })
    expect(told('shop/web', 81, '/a')).to.deep.equal({ isAllowed: false, cause: 'port', rule: 'shop/port' })
    expect(told('shop/none', 80, '/a')).to.deep.equal({ isAllowed: false, cause: 'source', rule: '' })
  })

  it('goes by the account of the pod that was chosen', () => {
    const now = world({ rules: [rule({})], mode: 'deny' })
    expect(permit(now, 'shop/web', 'shop/ratings', 80, null).isAllowed).to.equal(false)
    expect(permit(now, 'shop/web', 'shop/review', 80, null).isAllowed).to.equal(false)
    expect(permit(now, 'shop/web', 'open/reviews', 80, null).isAllowed).to.equal(true)
  })

  it('treats a foreign address by the default mode', () => {
    expect(permit(world({}), 'shop/web', '', 80, null).isAllowed).to.equal(true)
    expect(permit(world({ byDefault: 'deny' }), 'shop/web', '', 80, null).isAllowed).to.equal(false)
  })

  it('asks for every line of a repeated header', () => {
    const now = world({ rules: [rule({ http: [route({ headers: [{ name: 'role', value: 'admin' }] })] })] })
    const lines = (...values: string[]) => ({ ...get('/', { role: values.join(', ') }), headerLines: () => values })
    expect(permit(now, 'shop/web', 'shop/reviews', 80, lines('admin')).isAllowed).to.equal(true)
    expect(permit(now, 'shop/web', 'shop/reviews', 80, lines('admin', 'guest')).isAllowed).to.equal(false)
  })

  it('says what is open to plain text: no target, and mode allow', () => {
    expect(isOpen(world({}), 'shop/reviews')).to.equal(true)
    expect(isOpen(world({ mode: 'deny' }), 'shop/reviews')).to.equal(false)
    expect(isOpen(world({ rules: [rule({})] }), 'shop/reviews')).to.equal(false)
    expect(isOpen(world({ rules: [] }), 'shop/reviews')).to.equal(false)
    expect(isOpen(world({ byDefault: 'deny' }), 'shop/reviews')).to.equal(false)
  })

  it('tells the log who was denied what and by which target', () => {
    const verdict = permit(world({ rules: [metrics] }), 'shop/web', 'shop/reviews', 9092, null)
    const error = denied(verdict, 'shop/web', 'shop/reviews')
    expect(error).to.include({ reason: 'denied', status: 403 })
    expect(error.message).to.contain('shop/web to shop/reviews, port of shop/target')
    expect(denied(verdict, null, '').message).to.contain('no identity to a foreign address')
  })
})
