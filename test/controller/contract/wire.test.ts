// What leaves the controller for agents: a list of every field, to be lengthened with care. Agents get no Secret, no
// environment, no label and no unknown annotation of anybody, and of pods elsewhere only what it takes to reach them.

import { readdirSync, readFileSync } from 'node:fs'
import { expect } from 'chai'
import { parseAllDocuments } from 'yaml'
import type { Resource } from '../../../controller/contract/resources.ts'
import { builtinKinds, dropUnread, smiKinds } from '../../../controller/observe/kinds.ts'
import { passOf, worldOf } from '../../support/world.ts'

const match = ['name', 'path', 'methods[]', 'headers[].name', 'headers[].value']
const below = (prefix: string, names: string[]) => names.map((name) => `${prefix}.${name}`)

/** Every value that agents are told. A new one belongs here only if every node may know it, of every tenant. */
const allowed = new Set([
  ...below('mesh', ['kind', 'name', 'trustDomain', 'clusterDomain', 'meshDomain', 'aliasSuffix', 'address']),
  ...below('mesh', ['secondAddress', 'defaultAccess']),
  ...below('service', ['kind', 'name', 'uid', 'enrolled', 'address', 'secondAddress']),
  ...below('service.ports[]', ['number', 'name', 'protocol', 'splits[].name', 'splits[].matches']),
  ...below('service.ports[].splits[].backends[]', ['service', 'weight']),
  ...below('service.ports[].splits[].matches[]', match),
  ...below('service.policy.timeouts', ['connectMs', 'headMs', 'idleMs', 'requestMs']),
  ...below('service.policy.retry', ['attempts', 'on[]', 'perTryMs']),
  ...below('service.policy.breaker', ['consecutive', 'successRate', 'minimum', 'openMs', 'maxOpenMs', 'slowMs']),
  ...below('service.policy.limits', ['inFlightPerCaller', 'queuePerCaller']),
  ...below('service.policy.limits.rate', ['perSecond', 'burst']),
  ...below('service.policy.limits.ratePerCaller', ['perSecond', 'burst']),
  ...below('service.policy.balance', ['kind', 'header', 'cookie', 'slowStartMs']),
  ...below('service.policy.mirror', ['service', 'percent']),
  ...below('service.policy.fault', ['delay.ms', 'delay.percent', 'abort.status', 'abort.percent', 'header']),
  ...below('service.policy.headers.request', ['set[].name', 'set[].value', 'add[].name', 'add[].value', 'remove[]']),
  ...below('service.policy.headers.response', ['set[].name', 'set[].value', 'add[].name', 'add[].value', 'remove[]']),
  ...below('service.policy.redirect', ['status', 'prefix', 'location']),
  ...below('service.policy.rewrite', ['prefix', 'replacement']),
  'service.policy.plaintext',
  'service.policy.nodeLocal',
  ...below('endpoints', ['kind', 'name']),
  ...below('endpoints.endpoints[]', ['address', 'port', 'node', 'pod', 'podUid', 'account', 'workload']),
  ...below('port', ['kind', 'name', 'port', 'service', 'service.name', 'service.uid']),
  ...below('peer', ['kind', 'name', 'address', 'port']),
  ...below('workload', ['kind', 'name', 'pod', 'address', 'secondAddress', 'account', 'workload', 'live', 'startedAt']),
  ...below('namespace', ['kind', 'name', 'access']),
  ...below('access', ['kind', 'name', 'rules[].name', 'rules[].sources[]', 'rules[].ports', 'rules[].ports[]']),
  ...below('access', ['rules[].http', ...below('rules[].http[]', match)]),
])

/** Paths of all values in a resource; a null stands for the list or object that it is instead of. */
function pathsOf(value: unknown, at: string): string[] {
  if (Array.isArray(value)) return value.flatMap((each) => pathsOf(each, `${at}[]`))
  if (value === null || typeof value !== 'object') return [at]
  return Object.entries(value).flatMap(([name, each]) => pathsOf(each, `${at}.${name}`))
}

function isAllowed(path: string): boolean {
  return allowed.has(path) || allowed.has(`${path}[]`)
}

const secret = 'do-not-tell'
/** Two tenants; whatever could hold a secret does. */
const tenants = ['shop', 'bank'].flatMap((namespace, index) => [
  { kind: 'Namespace', metadata: { name: namespace, labels: { 'weft.dev/mesh': 'enabled', key: secret } } },
  { kind: 'Node', metadata: { name: `node${index}`, annotations: { key: secret } }, spec: { providerID: secret } },
  {
    kind: 'ServiceAccount',
    metadata: { name: 'default', namespace },
    secrets: [{ name: secret }],
    imagePullSecrets: [{ name: secret }],
  },
  ...['front', 'job'].map((name) => ({
    kind: 'Pod',
    metadata: { name: `${name}-${index}`, namespace, labels: { key: secret }, annotations: { key: secret } },
    spec: {
      nodeName: `node${index}`,
      serviceAccountName: 'default',
      containers: [{ name: 'c', env: [{ name: 'PASSWORD', value: secret }], args: [secret] }],
      volumes: [{ name: secret, secret: { secretName: secret } }],
    },
    status: { phase: 'Running', podIP: `10.0.${index}.${name === 'front' ? 1 : 2}`, message: secret },
  })),
  {
    kind: 'Service',
    metadata: {
      name: 'front',
      namespace,
      annotations: { 'kubectl.kubernetes.io/last-applied-configuration': secret, 'example.com/key': secret },
    },
    spec: { clusterIP: `10.96.0.${index}`, selector: { app: secret }, ports: [{ port: 80, targetPort: 8080 }] },
  },
  {
    kind: 'EndpointSlice',
    metadata: {
      name: `front-${index}`,
      namespace,
      labels: { 'kubernetes.io/service-name': 'front' },
      annotations: { key: secret },
    },
    addressType: 'IPv4',
    endpoints: [
      {
        addresses: [`10.0.${index}.1`],
        nodeName: `node${index}`,
        targetRef: { kind: 'Pod', namespace, name: `front-${index}` },
        deprecatedTopology: { key: secret },
      },
    ],
    ports: [{ name: '', port: 8080, protocol: 'TCP' }],
  },
])

describe('the wire', () => {
  const golden = new URL('../../golden/', import.meta.url)
  for (const name of readdirSync(golden).filter((each) => each.endsWith('.world.yaml'))) {
    it(`carries only fields that every agent may have: ${name.replace('.world.yaml', '')}`, () => {
      const yaml = readFileSync(new URL(name, golden), 'utf8')
      const first = parseAllDocuments(yaml)[0]?.toJS() as { settings?: object } | null
      const { common, nodes } = passOf(worldOf(yaml), first?.settings ?? {}).translation
      const paths = [...common, ...[...nodes.values()].flat()].flatMap(({ resource }) =>
        pathsOf(resource, resource.kind),
      )
      expect([...new Set(paths)].filter((path) => !isAllowed(path))).to.deep.equal([])
    })
  }

  it('says no to a field that is not on the list', () => {
    for (const path of ['workload.env', 'mesh.token', 'endpoints.endpoints[].labels.app']) {
      expect(isAllowed(path), path).to.equal(false)
    }
  })

  it('carries no secret of a tenant, and of other nodes’ pods only those that serve in the mesh', () => {
    const keeps = new Map([...builtinKinds, ...smiKinds].map(({ kind, keep = dropUnread }) => [kind, keep]))
    const kept = tenants.map((object) => {
      const apiVersion = object.kind === 'EndpointSlice' ? 'discovery.k8s.io/v1' : 'v1'
      return keeps.get(object.kind)!({ apiVersion, ...structuredClone(object) } as never)
    })
    const yaml = kept.map((object) => JSON.stringify(object)).join('\n---\n')
    const { common, nodes } = passOf(worldOf(yaml)).translation
    const told = (node: string) => [...common, ...(nodes.get(node) ?? [])].map(({ resource }) => resource)
    const pods = (resources: Resource[]) =>
      resources.flatMap((each) => {
        if (each.kind === 'workload') return [`workload ${each.pod}`]
        return each.kind === 'endpoints' ? each.endpoints.map(({ pod }) => `endpoint ${pod}`) : []
      })
    expect(JSON.stringify([...told('node0'), ...told('node1')])).not.to.contain(secret)
    const endpoints = ['endpoint bank/front-1', 'endpoint shop/front-0']
    expect(pods(told('node0'))).to.have.members(['workload shop/front-0', 'workload shop/job-0', ...endpoints])
    expect(pods(told('node1'))).to.have.members(['workload bank/front-1', 'workload bank/job-1', ...endpoints])
  })
})
