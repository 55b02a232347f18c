// The schema of the contract: strict, with messages that name the resource and the field.

import { expect } from 'chai'
import { problemOf, readMessage } from '../../../agent/mesh/schema.ts'
import type { Resource } from '../../../controller/contract/resources.ts'
import { endpoints, mesh, service, spec, split, workload } from '../../support/resources.ts'

const full: Resource[] = [
  mesh,
  service('shop/reviews', {
    ports: [
      {
        number: 9080,
        name: 'http',
        protocol: 'http',
        splits: [
          {
            ...split('shop/s', { 'shop/reviews-v1': 90, 'shop/reviews-v2': 10 }),
            matches: [{ name: 'api', path: '/api/.*', methods: ['GET'], headers: [{ name: 'x-user', value: 'a.*' }] }],
          },
        ],
      },
    ],
    policy: {
      timeouts: { connectMs: 500, headMs: 1000, idleMs: 0, requestMs: 5000 },
      retry: { attempts: 2, on: ['connect', '503'], perTryMs: 100 },
      breaker: { consecutive: 3, successRate: 0.5, minimum: 2, openMs: 10, maxOpenMs: 20 },
      limits: { inFlightPerCaller: 5, queuePerCaller: 0, rate: { perSecond: 1, burst: 2 } },
      balance: { kind: 'hash', header: 'x-user', slowStartMs: 1000 },
      mirror: { service: 'shop/shadow', percent: 12.5 },
      fault: { delay: { ms: 10, percent: 100 }, abort: { status: 503, percent: 1 }, header: 'x-fault' },
      headers: { request: { set: [{ name: 'a', value: '' }], remove: ['b'] }, response: { add: [] } },
      redirect: { status: 308, prefix: '/old', location: '/new' },
      rewrite: { prefix: '/a', replacement: '' },
      plaintext: true,
    },
  }),
  endpoints('shop/reviews:9080', '10.0.0.1', spec('10.0.0.2', { node: '', pod: '', account: '', workload: '' })),
  { kind: 'port', name: '16384', port: 9080, service: null },
  { kind: 'port', name: '16385', port: 6379, service: { name: 'shop/redis', uid: 'u' } },
  { kind: 'peer', name: 'node2', address: '10.0.1.2', port: 15008 },
  workload('10.0.0.1'),
  { kind: 'namespace', name: 'shop', access: 'deny' },
  {
    kind: 'access',
    name: 'shop/reviews',
    rules: [{ name: 'shop/t', sources: ['shop/a'], ports: [80], http: [] }],
  },
]

/** What is wrong with a resource once the field at a path (`ports.0.number`) has another value; undefined: is missing. */
function bent(resource: Resource, path: string, value: unknown): string | null {
  const copy = structuredClone(resource)
  const steps = path.split('.')
  const last = steps.pop()!
  let inner: object = copy
  for (const step of steps) inner = Reflect.get(inner, step)
  if (value === undefined) Reflect.deleteProperty(inner, last)
  else Reflect.set(inner, last, value)
  return problemOf(copy)
}

describe('agent/mesh/schema', () => {
  it('accepts every kind of resource', () => {
    for (const resource of full) expect(problemOf(resource), resource.kind).to.equal(null)
  })

  it('refuses each resource that lacks any one of its fields', () => {
    for (const resource of full) {
      for (const field of Object.keys(resource).filter((name) => name !== 'kind')) {
        const problem = bent(resource, field, undefined)
        expect(problem, `${resource.kind} without ${field}`).to.match(new RegExp(`: ${field} is (missing|not)`))
      }
    }
  })

  it('refuses a field that this contract version does not have, wherever it is', () => {
    for (const resource of full) {
      expect(bent(resource, 'extra', 1)).to.match(/: extra is not a field/)
    }
    const [, reviews] = full as [Resource, Resource]
    expect(bent(reviews, 'policy.retry.jitter', 1)).to.equal(
      'service shop/reviews: policy.retry.jitter is not a field of this contract version',
    )
  })

  const wrong: [string, number, string, unknown][] = [
    ['ports[0].number is 0, wanted a whole number from 1 to 65535', 1, 'ports.0.number', 0],
    ['ports[0].protocol is "udp", wanted one of http, tcp', 1, 'ports.0.protocol', 'udp'],
    ['ports[0].splits[0].backends[1].weight is -1, wanted', 1, 'ports.0.splits.0.backends.1.weight', -1],
    [
      'ports[0].splits[0].matches[0].headers[0].name is "X-User"',
      1,
      'ports.0.splits.0.matches.0.headers.0.name',
      'X-User',
    ],
    ['policy.fault.abort.status is 200, wanted', 1, 'policy.fault.abort.status', 200],
    ['policy.mirror.percent is 101, wanted a number from 0 to 100', 1, 'policy.mirror.percent', 101],
    ['endpoints[0].address is "10.0.0.256", wanted an IP address', 2, 'endpoints.0.address', '10.0.0.256'],
    ['endpoints[0].address is "fe80::1%eth0", wanted an IP address', 2, 'endpoints.0.address', 'fe80::1%eth0'],
    ['name is not namespace/name:port', 2, 'name', 'shop/reviews'],
    ['name is not a decimal port', 3, 'name', '0x10'],
    ['address is "", wanted an IP address', 5, 'address', ''],
    ['secondAddress is "", wanted an IP address', 6, 'secondAddress', ''],
    ['live is "yes", wanted true or false', 6, 'live', 'yes'],
    ['rules is {}, wanted a list', 8, 'rules', {}],
    ['rules[0].sources[0] is "a", wanted namespace/name', 8, 'rules.0.sources.0', 'a'],
  ]
  for (const [message, index, path, value] of wrong) {
    it(`says: ${message}`, () => expect(bent(full[index]!, path, value)).to.contain(message))
  }

  it('accepts the host name of a foreign endpoint', () => {
    expect(bent(full[2]!, 'endpoints.0.address', 'db.example.com')).to.equal(null)
  })

  it('reads messages, and says what is wrong with one', () => {
    expect(readMessage('{"type":"ping"}')).to.deep.equal({ type: 'ping' })
    expect(() => readMessage('{"type":"pi')).to.throw(/line is not JSON/)
    expect(() => readMessage('[]')).to.throw(/it is \[\], wanted an object/)
    expect(() => readMessage('{"type":"gossip"}')).to.throw(/type is "gossip", wanted one of hello, begin/)
    expect(() => readMessage('{"type":"set","resource":{"kind":"secret","name":"x"}}')).to.throw(
      /set: resource.kind is "secret", wanted one of mesh, service/,
    )
    expect(() => readMessage('{"type":"commit","version":"1"}')).to.throw(/commit: count is missing/)
    expect(() => readMessage('{"type":"begin","version":"1","full":true,"since":"0"}')).to.throw(
      /begin: since is not a field/,
    )
  })
})
