// NetworkPolicies: those that keep agents from the pods behind the mesh's Services or callers from the agents, and namespaces
// whose mode `deny` has no lock, so that the plain names walk around it. Only the objects are judged: whether the network
// plugin enforces them can't be seen from here.

import { isIP } from 'node:net'
import {
  keyOf,
  type LabelSelector,
  type NetworkPolicy,
  type Pod,
  type PolicyPeer,
  type PolicyRule,
} from '../../observe/objects.ts'
import type { World } from '../../observe/world.ts'
import { isWithin, makeBlocks } from '../../resolve/addresses.ts'
import { readLock } from '../../resolve/lock.ts'
import { namespaceOf } from '../../resolve/names.ts'
import type { Settings } from '../../resolve/settings.ts'
import type { ServiceNode, Topology } from '../../resolve/topology.ts'
import { type Check, check, shorten } from './check.ts'

const category = 'network'

type Labels = Readonly<Record<string, string>>

/** The agents, as rules would have to name them. */
interface Agents {
  namespace: string
  namespaceLabels: Labels
  labels: Labels
  addresses: readonly string[]
}

/** Checks the policies of all namespaces that have Services in the mesh, and of the mesh's own. */
export function checkPolicies(world: World, topology: Topology, settings: Settings): Check[] {
  const agents = agentsOf(world, settings)
  const byNamespace = Map.groupBy(world.policies.values(), ({ metadata }) => metadata.namespace ?? '')
  const enrolled = topology.services.filter(({ isEnrolled }) => isEnrolled)
  const namespaces = [...new Set(enrolled.map(({ key }) => namespaceOf(key)))].sort()

  const facts: Facts = { world, agents, byNamespace }
  const blocked = new Set(enrolled.flatMap((service) => blockedOf(service, facts)))
  const closed = new Set(namespaces.flatMap((namespace) => closedIn(namespace, facts)))
  const rule = `namespaceSelector kubernetes.io/metadata.name=${settings.namespace} with podSelector ${Object.entries(
    settings.agentSelector,
  )
    .map((pair) => pair.join('='))
    .join(',')}`
  return [
    check(
      category,
      'no NetworkPolicy keeps agents from pods in the mesh',
      shorten([...blocked]),
      `admit them by a rule: from ${rule}`,
    ),
    check(
      category,
      'no NetworkPolicy keeps callers from the agents',
      shorten([...closed]),
      `pods that it selects reach no mesh name until a rule admits: to ${rule}`,
      'warning',
    ),
    checkUnlocked(world, topology, settings, namespaces),
  ]
}

interface Facts {
  world: World
  agents: Agents
  byNamespace: ReadonlyMap<string, NetworkPolicy[]>
}

/** Policies that keep agents from the pods behind a Service, each with the port. */
function blockedOf({ key, ports }: ServiceNode, { world, agents, byNamespace }: Facts): string[] {
  const policies = byNamespace.get(namespaceOf(key)) ?? []
  return ports.flatMap(({ number, endpoints }) =>
    endpoints.flatMap(({ pod, port }) => {
      const isolating = policies.filter((policy) => selects(policy, world.pods.get(pod), 'Ingress'))
      const isAdmitted = (rule: PolicyRule) => admits(rule.from, agents) && hasPort(rule, port)
      if (isolating.some(({ spec }) => spec?.ingress?.some(isAdmitted))) return []
      return isolating.map((policy) => `${keyOf(policy)} (${key}:${number})`)
    }),
  )
}

/** Policies that keep pods of a namespace from the agents. */
function closedIn(namespace: string, { world, agents, byNamespace }: Facts): string[] {
  const policies = byNamespace.get(namespace) ?? []
  if (policies.length === 0) return []
  const pods = [...world.pods.values()].filter(({ metadata }) => metadata.namespace === namespace)
  return pods.flatMap((pod) => {
    const isolating = policies.filter((policy) => selects(policy, pod, 'Egress'))
    const isAdmitted = isolating.some(({ spec }) => spec?.egress?.some((rule) => admits(rule.to, agents)))
    return isAdmitted ? [] : isolating.map(keyOf)
  })
}

function checkUnlocked(world: World, topology: Topology, { defaultAccess }: Settings, namespaces: string[]): Check {
  const modes = new Map(topology.namespaces.map(({ name, access }) => [name, access]))
  const open = namespaces.filter((name) => {
    return (modes.get(name) ?? defaultAccess) === 'deny' && !readLock(world.namespaces.get(name), null)
  })
  return check(
    category,
    'mode deny is closed by a lock',
    open.length === 0 ? '' : `${shorten(open)}: the Services' plain names lead around it`,
    `kubectl label namespace ${open[0] ?? 'NAME'} weft.dev/lock=enabled; needs a network plugin that enforces NetworkPolicies`,
    'warning',
  )
}

function agentsOf({ namespaces, pods }: World, { namespace, agentSelector }: Settings): Agents {
  const own = [...pods.values()].filter(({ metadata }) => {
    return metadata.namespace === namespace && matches({ matchLabels: agentSelector }, metadata.labels ?? {})
  })
  const name = { 'kubernetes.io/metadata.name': namespace }
  return {
    namespace,
    namespaceLabels: { ...name, ...namespaces.get(namespace)?.metadata.labels },
    labels: own[0]?.metadata.labels ?? agentSelector,
    addresses: own.flatMap(({ status }) => (status?.podIP === undefined ? [] : [status.podIP])),
  }
}

/** Whether a policy isolates a pod in a direction. */
function selects({ spec }: NetworkPolicy, pod: Pod | undefined, direction: 'Ingress' | 'Egress'): boolean {
  if (pod === undefined || spec === undefined) return false
  const types = spec.policyTypes ?? ['Ingress', ...(spec.egress === undefined ? [] : ['Egress'])]
  return types.includes(direction) && matches(spec.podSelector ?? {}, pod.metadata.labels ?? {})
}

/** Whether peers of a rule include all agents; no peers are everybody. */
function admits(peers: PolicyPeer[] | undefined, agents: Agents): boolean {
  if (peers === undefined || peers.length === 0) return true
  return peers.some(({ namespaceSelector, podSelector, ipBlock }) => {
    if (ipBlock !== undefined) return isInBlock(ipBlock, agents.addresses)
    // Without a selector of namespaces only the policy's own is meant, which is never the agents'.
    if (namespaceSelector === undefined) return false
    return matches(namespaceSelector, agents.namespaceLabels) && matches(podSelector ?? {}, agents.labels)
  })
}

function isInBlock({ cidr, except = [] }: NonNullable<PolicyPeer['ipBlock']>, addresses: readonly string[]): boolean {
  const isSound = (each: string) => isIP(each.split('/')[0] ?? '') !== 0
  if (addresses.length === 0 || ![cidr, ...except].every(isSound)) return false
  const inside = makeBlocks([cidr])
  const outside = makeBlocks(except)
  return addresses.every((address) => isWithin(address, inside) && !isWithin(address, outside))
}

/** Whether a rule names a port. One given by name may be meant: pods are free in how they name it. */
function hasPort({ ports }: PolicyRule, number: number): boolean {
  if (ports === undefined || ports.length === 0) return true
  return ports.some(({ port, endPort, protocol = 'TCP' }) => {
    if (protocol !== 'TCP') return false
    if (typeof port !== 'number') return true
    return number >= port && number <= (endPort ?? port)
  })
}

/** Whether labels are what a selector asks for. */
export function matches({ matchLabels = {}, matchExpressions = [] }: LabelSelector, of: Labels): boolean {
  return (
    Object.entries(matchLabels).every(([key, value]) => of[key] === value) &&
    matchExpressions.every(({ key, operator, values = [] }) => {
      const value = of[key]
      if (operator === 'Exists') return value !== undefined
      if (operator === 'DoesNotExist') return value === undefined
      const isIn = value !== undefined && values.includes(value)
      return operator === 'In' ? isIn : !isIn
    })
  )
}
