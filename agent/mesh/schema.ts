// What the agent accepts from the controller: every message and resource of the contract, checked strictly. What passes
// here is taken as its type from then on, on every thread.

import type {
  Begin,
  Commit,
  Hello,
  Message,
  Ping,
  Remove,
  Set as SetMessage,
} from '../../controller/contract/messages.ts'
import type {
  AccessResource,
  AccessRule,
  Balance,
  EndpointSpec,
  EndpointsResource,
  HeaderEdits,
  MeshResource,
  NamespaceResource,
  PeerResource,
  PortResource,
  RateLimit,
  Resource,
  ResourceKind,
  RouteMatch,
  ServicePolicy,
  ServicePort,
  ServiceResource,
  Split,
  WorkloadResource,
} from '../../controller/contract/resources.ts'
import {
  address,
  addressOrNone,
  asObject,
  boolean,
  type Check,
  CheckError,
  count,
  headerName,
  host,
  key,
  keyOrNone,
  list,
  maybe,
  name,
  nullable,
  object,
  oneOf,
  percent,
  port,
  share,
  text,
  whole,
} from './check.ts'

type Part<T, K extends keyof T> = NonNullable<T[K]>

const access = oneOf('allow', 'deny')
const ms = whole(0, 2_147_483_647)
const nameAndText = object<{ name: string; value: string }>({ name: headerName, value: text })

const match = object<RouteMatch>({
  name: text,
  path: nullable(text),
  methods: nullable(list(name)),
  headers: list(nameAndText),
})

const rate = object<RateLimit>({ perSecond: whole(1), burst: whole(1) })

const edits = object<HeaderEdits>({
  set: maybe(list(nameAndText)),
  add: maybe(list(nameAndText)),
  remove: maybe(list(headerName)),
})

const policy = object<ServicePolicy>({
  timeouts: maybe(
    object<Part<ServicePolicy, 'timeouts'>>({
      connectMs: maybe(ms),
      headMs: maybe(ms),
      idleMs: maybe(ms),
      requestMs: maybe(ms),
    }),
  ),
  retry: maybe(
    object<Part<ServicePolicy, 'retry'>>({ attempts: maybe(whole(0, 10)), on: maybe(list(name)), perTryMs: maybe(ms) }),
  ),
  breaker: maybe(
    object<Part<ServicePolicy, 'breaker'>>({
      consecutive: maybe(whole(1)),
      successRate: maybe(share),
      minimum: maybe(whole(1)),
      openMs: maybe(ms),
      maxOpenMs: maybe(ms),
      slowMs: maybe(ms),
    }),
  ),
  limits: maybe(
    object<Part<ServicePolicy, 'limits'>>({
      inFlightPerCaller: maybe(whole(1)),
      queuePerCaller: maybe(count),
      rate: maybe(rate),
      ratePerCaller: maybe(rate),
    }),
  ),
  balance: maybe(
    object<Balance>({
      kind: oneOf('ewma', 'least-request', 'round-robin', 'hash'),
      header: maybe(headerName),
      cookie: maybe(name),
      slowStartMs: maybe(ms),
    }),
  ),
  mirror: maybe(object<Part<ServicePolicy, 'mirror'>>({ service: key, percent })),
  fault: maybe(
    object<Part<ServicePolicy, 'fault'>>({
      delay: maybe(object<{ ms: number; percent: number }>({ ms, percent })),
      abort: maybe(object<{ status: number; percent: number }>({ status: whole(400, 599), percent })),
      header: maybe(headerName),
    }),
  ),
  headers: maybe(object<Part<ServicePolicy, 'headers'>>({ request: maybe(edits), response: maybe(edits) })),
  redirect: maybe(object<Part<ServicePolicy, 'redirect'>>({ status: whole(300, 399), prefix: name, location: name })),
  rewrite: maybe(object<Part<ServicePolicy, 'rewrite'>>({ prefix: name, replacement: text })),
  plaintext: maybe(boolean),
  nodeLocal: maybe(boolean),
})

const split = object<Split>({
  name: key,
  matches: nullable(list(match)),
  backends: list(object<Split['backends'][number]>({ service: key, weight: count })),
})

const servicePort = object<ServicePort>({
  number: port,
  name: text,
  protocol: oneOf('http', 'tcp'),
  splits: list(split),
})

const endpoint = object<EndpointSpec>({
  address: host,
  port,
  node: text,
  pod: keyOrNone,
  podUid: text,
  account: keyOrNone,
  workload: text,
})

const rule = object<AccessRule>({
  name: key,
  sources: list(key),
  ports: nullable(list(port)),
  http: nullable(list(match)),
})

/** A decimal number in a text, as the names of `port` resources are. */
const portText: Check = (value, where) => {
  if (typeof value !== 'string' || !/^[1-9]\d*$/.test(value)) throw new CheckError(`${where} is not a decimal port`)
  port(Number(value), where)
}

/** `namespace/name:port` */
const backendKey: Check = (value, where) => {
  const [, service, number] = /^(.*):(\d+)$/.exec(String(value)) ?? []
  if (service === undefined) throw new CheckError(`${where} is not namespace/name:port`)
  key(service, where)
  port(Number(number), where)
}

const kinds: Record<ResourceKind, Check> = {
  mesh: object<MeshResource>({
    kind: text,
    name: oneOf('mesh'),
    trustDomain: name,
    clusterDomain: name,
    meshDomain: name,
    aliasSuffix: name,
    address: addressOrNone,
    secondAddress: maybe(address),
    defaultAccess: access,
  }),
  service: object<ServiceResource>({
    kind: text,
    name: key,
    uid: name,
    enrolled: boolean,
    address: addressOrNone,
    secondAddress: maybe(address),
    ports: list(servicePort),
    policy,
  }),
  endpoints: object<EndpointsResource>({ kind: text, name: backendKey, endpoints: list(endpoint) }),
  port: object<PortResource>({
    kind: text,
    name: portText,
    port,
    service: nullable(object<Part<PortResource, 'service'>>({ name: key, uid: name })),
  }),
  peer: object<PeerResource>({ kind: text, name, address, port }),
  workload: object<WorkloadResource>({
    kind: text,
    name,
    pod: key,
    address,
    secondAddress: maybe(address),
    account: key,
    workload: text,
    live: boolean,
    startedAt: count,
  }),
  namespace: object<NamespaceResource>({ kind: text, name, access }),
  access: object<AccessResource>({ kind: text, name: key, rules: list(rule) }),
}

/** `address:port`, with brackets around IPv6. */
const addressAndPort: Check = (value, where) => {
  const [, four, six, number] = /^(?:([^:[\]]+)|\[(.+)\]):(\d+)$/.exec(String(value)) ?? []
  if (number === undefined) throw new CheckError(`${where} is not address:port`)
  address(four ?? six, where)
  port(Number(number), where)
}

const kind = oneOf(...Object.keys(kinds))

/** Kind and name, which is what a refusal is reported by; the rest is checked apart. */
const named: Check = (value, where) => {
  const resource = asObject(value, where)
  kind(resource['kind'], `${where}.kind`)
  name(resource['name'], `${where}.name`)
}

const messages: Record<Message['type'], Check> = {
  hello: object<Hello>({ type: text, contract: count, controller: text, address: maybe(addressAndPort) }),
  begin: object<Begin>({ type: text, version: name, full: boolean }),
  set: object<SetMessage>({ type: text, resource: named }),
  remove: object<Remove>({ type: text, kind, name }),
  commit: object<Commit>({ type: text, version: name, count }),
  ping: object<Ping>({ type: text }),
}

const type = oneOf(...Object.keys(messages))

/**
 * Reads a line from the controller. The resource of a `set` is known by kind and name only: checkResource does the rest.
 * @throws CheckError if it is not a message of the contract
 */
export function readMessage(line: string): Message {
  let message: unknown
  try {
    message = JSON.parse(line)
  } catch (error) {
    throw new CheckError(`line is not JSON: ${(error as Error).message}`)
  }
  type(asObject(message, '')['type'], 'type')
  const read = message as Message
  try {
    messages[read.type](message, '')
  } catch (error) {
    throw error instanceof CheckError ? new CheckError(`${read.type}: ${error.message}`) : error
  }
  return read
}

/**
 * Checks a resource down to its last field.
 * @returns what is wrong, with kind, name and field; null if nothing
 */
export function problemOf(resource: Resource): string | null {
  try {
    kinds[resource.kind](resource, '')
    return null
  } catch (error) {
    if (!(error instanceof CheckError)) throw error
    return `${resource.kind} ${resource.name}: ${error.message}`
  }
}
