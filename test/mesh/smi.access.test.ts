// TrafficTarget and what it names, ruling by ruling: who may call whom and what, from the manifests to the agent's verdict.
// The numbers are the sections of the SMI facts that the project goes by; 7 are its test vectors.

import { expect } from 'chai'
import { RequestHead } from '../../agent/http1/head.ts'
import { canonicalPath } from '../../agent/http1/target.ts'
import type { MatchInput } from '../../agent/mesh/match.ts'
import type { Settings } from '../../controller/resolve/settings.ts'
import { type Decided, decide } from '../support/decide.ts'
import { input } from '../support/snapshot.ts'

const get = (path: string, headers: Record<string, string> = {}): MatchInput => input('GET', path, headers)

interface Given {
  version?: number
  name?: string
  namespace?: string
  destination?: string
  sources?: string
  /** Fields at the top instead of in spec. */
  isTop?: boolean
}

/** A target of the account `dest` for `web`, with these rules. */
function target(rules: string | null, given: Given = {}): string {
  const { version = 3, name = 't', namespace = 'shop', isTop = false } = given
  const { destination = '{kind: ServiceAccount, name: dest}', sources = '[{kind: ServiceAccount, name: web}]' } = given
  const list = rules === null ? '' : `, ${isTop ? 'specs' : 'rules'}: ${rules}`
  const fields = `destination: ${destination}, sources: ${sources}${list}`
  return `{apiVersion: access.smi-spec.io/v1alpha${version}, kind: TrafficTarget, metadata: {name: ${name}, namespace: ${namespace}}, ${isTop ? fields : `spec: {${fields}}`}}`
}

const accounts = ['dest', 'web', 'other'].map(
  (name) => `{apiVersion: v1, kind: ServiceAccount, metadata: {name: ${name}}}`,
)
const tcp = (name: string, ports: string, version = 4) =>
  `{apiVersion: specs.smi-spec.io/v1alpha${version}, kind: TCPRoute, metadata: {name: ${name}}, spec: ${ports}}`
const routes = [
  tcp('all', '{matches: {ports: []}}'),
  tcp('old', '{}', 3),
  tcp('p9091', '{matches: {ports: [9091]}}'),
  '{apiVersion: specs.smi-spec.io/v1alpha4, kind: UDPRoute, metadata: {name: udp}, spec: {matches: {ports: [8301, 8302]}}}',
  `{apiVersion: specs.smi-spec.io/v1alpha4, kind: HTTPRouteGroup, metadata: {name: g}, spec: {matches: [
     {name: metrics, pathRegex: /metrics}, {name: api, pathRegex: "/api.*", methods: [GET, POST]}, {name: any, methods: ["*"], pathRegex: /any},
     {name: lower, methods: [get], pathRegex: /lower}, {name: v1, pathRegex: /api/v1}, {name: bad, pathRegex: "["}]}}`,
]
const group = (match = '') => `{kind: HTTPRouteGroup, name: g${match && `, matches: [${match}]`}}`

const decided = (documents: string[], settings: Partial<Settings> = {}): Decided =>
  decide([...accounts, ...routes, ...documents], settings)

/** What is said of targets. */
const saidOf = (all: Decided) => all.said.filter((each) => each.startsWith('TrafficTarget'))

/** Whether `web` may call a port of `dest`. */
function allows(rules: string | null, port: number, request: MatchInput | null, given: Given = {}): boolean {
  return decided([target(rules, given)]).allows('web', 'dest', port, request)
}

describe('SMI TrafficTarget', () => {
  describe('7.6 what each rule permits', () => {
    it('without any target the mode decides', () => {
      expect(decided([]).allows('web', 'dest', 80, get('/'))).to.equal(true)
      expect(decided([], { defaultAccess: 'deny' }).allows('web', 'dest', 80, get('/'))).to.equal(false)
      const label = '{apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {weft.dev/access: deny}}}'
      expect(decided([label]).allows('web', 'dest', 80, get('/'))).to.equal(false)
    })

    const rows: [string, string, [number, MatchInput | null, boolean][]][] = [
      [
        'a TCPRoute without ports: every port, and HTTP on it',
        '[{kind: TCPRoute, name: all}]',
        [
          [1, null, true],
          [80, get('/'), true],
        ],
      ],
      [
        'a TCPRoute of v1alpha3 has no ports: every port',
        '[{kind: TCPRoute, name: old}]',
        [
          [1, null, true],
          [80, get('/'), true],
        ],
      ],
      [
        'a TCPRoute of 9091',
        '[{kind: TCPRoute, name: p9091}]',
        [
          [9091, null, true],
          [9091, get('/'), true],
          [9092, null, false],
          [9092, get('/'), false],
        ],
      ],
      [
        'an HTTPRouteGroup alone: every port, and only what matches',
        `[${group('metrics')}]`,
        [
          [80, get('/metrics'), true],
          [81, get('/metrics'), true],
          [80, get('/'), false],
        ],
      ],
      ['an HTTPRouteGroup where the connection is not HTTP: nothing', `[${group()}]`, [[80, null, false]]],
      [
        'TCPRoute and HTTPRouteGroup: both must hold',
        `[{kind: TCPRoute, name: p9091}, ${group('metrics')}]`,
        [
          [9091, get('/metrics'), true],
          [9091, get('/'), false],
          [80, get('/metrics'), false],
          [9091, null, false],
        ],
      ],
      [
        'without matches all of the group count',
        `[${group()}]`,
        [
          [80, get('/metrics'), true],
          [80, get('/any'), true],
          [80, get('/none'), false],
        ],
      ],
      [
        'methods *',
        `[${group('any')}]`,
        [
          [80, get('/any'), true],
          [80, input('PROPFIND', '/any'), true],
        ],
      ],
      [
        'methods are listed, and compared as they are',
        `[${group('api')}]`,
        [
          [80, get('/api'), true],
          [80, input('DELETE', '/api'), false],
          [80, input('get', '/api'), false],
        ],
      ],
      ['a method in lower case is no GET', `[${group('lower')}]`, [[80, get('/lower'), false]]],
    ]
    for (const [title, rules, asked] of rows) {
      it(title, () => {
        const all = decided([target(rules)])
        for (const [port, request, is] of asked) {
          const what = `${port} ${request === null ? 'opaque' : `${request.method} ${request.path}`}`
          expect(all.allows('web', 'dest', port, request), what).to.equal(is)
        }
      })
    }

    it('a path is matched from its start, not to its end, and without the query', () => {
      const all = decided([target(`[${group('metrics')}]`)])
      const is = (path: string) => {
        const head = new RequestHead()
        head.parse(`GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`, { headBytes: 1000, headers: 10 })
        return all.allows('web', 'dest', 80, head)
      }
      expect(is('/metrics')).to.equal(true)
      expect(is('/metrics?x=1')).to.equal(true)
      expect(is('/?x=/metrics')).to.equal(false)
      expect(is('/metricsX')).to.equal(true)
      expect(is('/metrics/x')).to.equal(true)
      expect(is('/a/metrics')).to.equal(false)
    })

    it('a path is matched as it goes up: dots and escapes lead nowhere else', () => {
      const all = decided([target(`[${group('metrics')}]`)])
      const is = (path: string) => {
        const canonical = canonicalPath(path)
        return canonical !== null && all.allows('web', 'dest', 80, get(canonical))
      }
      for (const path of ['/x/../metrics', '/%6Detrics', '//metrics', '/./metrics'])
        expect(is(path), path).to.equal(true)
      for (const path of ['/metrics/../admin', '/metrics/%2e%2e/admin', '/metrics/..%2fadmin', '/metrics\\..\\admin'])
        expect(is(path), path).to.equal(false)
    })
  })

  describe('7.7 several targets', () => {
    it('are united, however their routes overlap', () => {
      const all = decided([
        target(`[${group('api')}]`, { name: 't1' }),
        target(`[${group('v1')}]`, { name: 't2', sources: '[{kind: ServiceAccount, name: other}]' }),
      ])
      const is = (source: string, path: string) => all.allows(source, 'dest', 80, get(path))
      expect([
        is('web', '/api/v1'),
        is('web', '/api/v2'),
        is('other', '/api/v1'),
        is('other', '/api/v2'),
      ]).to.deep.equal([true, true, true, false])
    })
  })

  describe('7.8 namespaces and UDP', () => {
    it('a target of another namespace neither opens nor closes our account', () => {
      const foreign = (rules: string) =>
        target(rules, { namespace: 'bank', destination: '{kind: ServiceAccount, name: dest, namespace: shop}' })
      const closed = decided([target('[{kind: TCPRoute, name: p9091}]'), foreign('[{kind: TCPRoute, name: all}]')])
      expect(closed.allows('bank/web', 'dest', 9091, null)).to.equal(false)
      expect(closed.said).to.include('TrafficTarget t: DestinationInvalid')
      expect(decided([foreign('[]')]).allows('web', 'dest', 80, get('/'))).to.equal(true)
    })

    it('UDP is not carried: a UDPRoute permits nothing, and the target says so', () => {
      const all = decided([target('[{kind: UDPRoute, name: udp}]')])
      for (const port of [8300, 8301]) expect(all.allows('web', 'dest', port, null), String(port)).to.equal(false)
      expect(saidOf(all)).to.deep.equal(['TrafficTarget t: UdpNotEnforced'])
    })

    it('beside a TCPRoute a UDPRoute neither adds nor takes anything', () => {
      const rules = '[{kind: TCPRoute, name: p9091}, {kind: UDPRoute, name: udp}]'
      expect(allows(rules, 9091, null)).to.equal(true)
      expect(allows(rules, 8301, null)).to.equal(false)
    })
  })

  describe('1.4 who is meant', () => {
    const all = '[{kind: TCPRoute, name: all}]'

    it('a destination without a namespace is of the target’s own', () => expect(allows(all, 80, null)).to.equal(true))

    it('a source without a namespace is of the target’s own, and an empty one too', () => {
      expect(allows(all, 80, null, { sources: '[{kind: ServiceAccount, name: web, namespace: ""}]' })).to.equal(true)
      const far = decided([target(all)])
      expect(far.allows('bank/web', 'dest', 80, null)).to.equal(false)
    })

    it('a caller without identity is no source', () => {
      expect(decided([target(all)]).allows(null, 'dest', 80, get('/'))).to.equal(false)
    })

    it('sources of another kind are ignored with an Event, the others count', () => {
      const one = decided([
        target(all, { sources: '[{kind: Group, name: everyone}, {kind: ServiceAccount, name: web}]' }),
      ])
      expect(one.allows('web', 'dest', 80, null)).to.equal(true)
      expect(one.allows('everyone', 'dest', 80, null)).to.equal(false)
      expect(saidOf(one)).to.deep.equal(['TrafficTarget t: SourceInvalid'])
    })

    it('without sources nobody is allowed', () => {
      for (const sources of ['[]', 'null']) expect(allows(all, 80, null, { sources }), sources).to.equal(false)
    })

    it('the account of the pod that is reached decides: a split grants nothing', () => {
      const one = decided([target(all)])
      expect(one.allows('web', 'other', 80, null)).to.equal(true)
      expect(one.allows('other', 'dest', 80, null)).to.equal(false)
    })
  })

  describe('1.4 what is missing or broken permits nothing', () => {
    const rows: [string, string | null, string][] = [
      ['a TCPRoute that is missing', '[{kind: TCPRoute, name: gone}]', 'RouteNotFound'],
      ['an HTTPRouteGroup that is missing', '[{kind: HTTPRouteGroup, name: gone}]', 'RouteNotFound'],
      [
        'a group that is missing beside a TCPRoute',
        '[{kind: TCPRoute, name: all}, {kind: HTTPRouteGroup, name: gone}]',
        'RouteNotFound',
      ],
      ['a match that is unknown', `[${group('nope')}]`, 'MatchNotFound'],
      ['a match that is broken', `[${group('bad')}]`, ''],
      ['a rule of another kind', '[{kind: TCPRoute, name: all}, {kind: Ingress, name: x}]', 'RuleInvalid'],
      ['no rules, in v1alpha3', '[]', 'RuleInvalid'],
    ]
    for (const [title, rules, reason] of rows) {
      it(title, () => {
        const all = decided([target(rules)])
        expect(all.allows('web', 'dest', 80, get('/metrics'))).to.equal(false)
        expect(all.allows('web', 'dest', 80, null)).to.equal(false)
        expect(saidOf(all)).to.deep.equal(reason === '' ? [] : [`TrafficTarget t: ${reason}`])
      })
    }

    it('no rules, in v1alpha2 and v1alpha1', () => {
      expect(allows(null, 80, get('/'), { version: 2 })).to.equal(false)
      expect(allows(null, 80, get('/'), { version: 1, isTop: true })).to.equal(false)
    })
  })

  describe('2.3 the port of v1alpha1 and v1alpha2', () => {
    const on = (port: string) => `{kind: ServiceAccount, name: dest, port: ${port}}`

    for (const port of ['9091', '"9091"']) {
      it(`${port} stays a restriction, whatever version the object is read in`, () => {
        for (const version of [1, 2, 3, 4]) {
          for (const isTop of [true, false]) {
            const given = { version, isTop, destination: on(port) }
            expect(allows(`[${group('metrics')}]`, 9091, get('/metrics'), given)).to.equal(true)
            expect(allows(`[${group('metrics')}]`, 9092, get('/metrics'), given)).to.equal(false)
          }
        }
      })
    }

    it('none means every port', () =>
      expect(allows('[{kind: TCPRoute, name: all}]', 5, null, { version: 2 })).to.equal(true))

    it('it and a TCPRoute must both hold', () => {
      const given = { version: 2, destination: on('80') }
      expect(allows('[{kind: TCPRoute, name: p9091}]', 80, null, given)).to.equal(false)
      expect(allows('[{kind: TCPRoute, name: p9091}]', 9091, null, given)).to.equal(false)
    })

    it('one that is no port permits none', () => {
      for (const port of ['http', '0', '70000']) {
        expect(allows('[{kind: TCPRoute, name: all}]', 80, null, { version: 2, destination: on(port) }), port).to.equal(
          false,
        )
      }
    })
  })

  describe('2.2 shapes of all versions in any version', () => {
    it('fields at the top are read, in spec, or some here and some there', () => {
      for (const version of [1, 2, 3, 4]) {
        for (const isTop of [true, false]) {
          expect(
            allows('[{kind: TCPRoute, name: p9091}]', 9091, null, { version, isTop }),
            `${version} ${isTop}`,
          ).to.equal(true)
        }
      }
      const mixed =
        '{apiVersion: access.smi-spec.io/v1alpha3, kind: TrafficTarget, metadata: {name: t}, destination: {kind: ServiceAccount, name: dest}, spec: {sources: [{kind: ServiceAccount, name: web}], specs: [{kind: TCPRoute, name: all}]}}'
      expect(decided([mixed]).allows('web', 'dest', 80, null)).to.equal(true)
    })

    it('where both have a field the one in spec counts, and the other is named', () => {
      const both =
        '{apiVersion: access.smi-spec.io/v1alpha3, kind: TrafficTarget, metadata: {name: t}, sources: [{kind: ServiceAccount, name: other}], spec: {destination: {kind: ServiceAccount, name: dest}, sources: [{kind: ServiceAccount, name: web}], rules: [{kind: TCPRoute, name: all}]}}'
      const all = decided([both])
      expect(all.allows('web', 'dest', 80, null)).to.equal(true)
      expect(all.allows('other', 'dest', 80, null)).to.equal(false)
      const own = all.problems.filter(({ object }) => object.kind === 'TrafficTarget')
      expect(own.map(({ reason, field }) => [reason, field])).to.deep.equal([['FieldIgnored', 'sources']])
    })
  })
})
