// What the mesh makes of each SMI object, as conditions in the manner of the Gateway API. Accepted: what stands in the object
// itself can be understood. ResolvedRefs: what it names is there. Enforced: what it asks for is in force.

import type { AccessRule, Key } from '../contract/resources.ts'
import type { World } from '../observe/world.ts'
import type { Problem, ProblemReason } from '../resolve/problem.ts'
import type {
  PortRouteNode,
  RouteGroupNode,
  ServiceNode,
  SplitNode,
  TargetNode,
  Topology,
} from '../resolve/topology.ts'

export type ConditionType = 'Accepted' | 'ResolvedRefs' | 'Enforced'

export interface Verdict {
  type: ConditionType
  status: 'True' | 'False'
  /** CamelCase: a problem's, or the condition's own name where it holds. */
  reason: string
  message: string
}

/** Parts of the World that hold SMI objects. */
export type SmiPart = Extract<keyof World, 'splits' | 'targets' | 'routeGroups' | 'tcpRoutes' | 'udpRoutes'>

/** An SMI object with what is to be said of it, always in the order of the conditions' types. */
export interface Judged {
  part: SmiPart
  key: Key
  verdicts: Verdict[]
}

/** Names that lead nowhere. */
const references: ReadonlySet<ProblemReason> = new Set([
  'AccountNotFound',
  'BackendNotFound',
  'MatchNotFound',
  'RootNotFound',
  'RouteNotFound',
])

/** What can't be seen in the object alone, and keeps it from having an effect. */
const obstacles: ReadonlySet<ProblemReason> = new Set([
  'MatchesNeedHttp',
  'NoBackendLeft',
  'NotEnrolled',
  'SplitSuperseded',
  'UdpNotEnforced',
])

/** A condition's message has to stay readable. */
const maxShown = 10

/** Judges every SMI object of a topology. */
export function judge(topology: Topology): Judged[] {
  const services = new Map(topology.services.map((service) => [service.key, service]))
  const named = namedRoutes(topology)
  return [
    ...topology.splits.map((node) => judged('splits', node, dividing(node, services.get(node.root)))),
    ...topology.targets.map((node) => judged('targets', node, permitting(node))),
    ...topology.groups.map((node) => judged('routeGroups', node, matching(node, named))),
    ...topology.portRoutes.map((node) =>
      node.kind === 'TCPRoute'
        ? judged('tcpRoutes', node, matching(node, named))
        : judged('udpRoutes', node, not('UdpNotEnforced', 'UDP is not carried by the mesh: the route has no effect')),
    ),
  ]
}

function judged(part: SmiPart, node: { key: Key; problems: Problem[] }, enforced: Enforced): Judged {
  const { key, problems } = node
  return { part, key, verdicts: [accepted(problems), resolvedRefs(problems), { type: 'Enforced', ...enforced }] }
}

type Enforced = Omit<Verdict, 'type'>

function accepted(problems: readonly Problem[]): Verdict {
  const type = 'Accepted'
  const own = problems.filter(
    ({ reason, severity }) => severity === 'error' && !references.has(reason) && !obstacles.has(reason),
  )
  if (own.length === 0) return { type, status: 'True', reason: 'Accepted', message: 'every field was understood' }
  return { type, status: 'False', reason: own[0]!.reason, message: listed(own) }
}

function resolvedRefs(problems: readonly Problem[]): Verdict {
  const type = 'ResolvedRefs'
  const broken = problems.filter(({ reason }) => references.has(reason))
  if (broken.length === 0) return { type, status: 'True', reason: 'ResolvedRefs', message: 'every name was found' }
  return { type, status: 'False', reason: broken[0]!.reason, message: listed(broken) }
}

function listed(problems: readonly Problem[]): string {
  const shown = problems.slice(0, maxShown).map(({ message }) => message)
  const rest = problems.length - shown.length
  return [...shown, ...(rest > 0 ? [`and ${rest} more`] : [])].join('; ')
}

const yes = (message: string): Enforced => ({ status: 'True', reason: 'Enforced', message })
const not = (reason: string, message: string): Enforced => ({ status: 'False', reason, message })
const because = ({ reason, message }: Problem): Enforced => not(reason, message)

/** Whatever keeps a split from dividing; the reasons are sought in this order. */
const splitObstacles: readonly ProblemReason[] = [
  'RootInvalid',
  'SplitSuperseded',
  'RootNotFound',
  'NotEnrolled',
  'NoBackendLeft',
]

/** Why a split with matches has none. */
const matchReasons: ReadonlySet<ProblemReason> = new Set(['RouteNotFound', 'MatchInvalid', 'SpecInvalid'])

function dividing(node: SplitNode, root: ServiceNode | undefined): Enforced {
  for (const reason of splitObstacles) {
    const problem = node.problems.find((each) => each.reason === reason)
    if (problem) return because(problem)
  }
  if (node.matches?.length === 0) {
    const problem = node.problems.find(({ reason }) => matchReasons.has(reason))
    return problem ? because(problem) : not('MatchInvalid', 'no match of its HTTPRouteGroups can be read; see there')
  }
  const ports = root?.ports.filter(({ splits }) => splits.some(({ split }) => split === node.key)) ?? []
  if (ports.length > 0) return yes(`divides ${node.root} on port ${ports.map(({ number }) => number).join(', ')}`)
  const cause = node.problems.find(({ reason }) => reason === 'MatchesNeedHttp')
  return cause ? because(cause) : not('NoPort', `Service ${node.root} has no TCP port that could be divided`)
}

function permitting(node: TargetNode): Enforced {
  const { destination, rule, problems } = node
  const cause = problems.find(({ severity }) => severity === 'error')
  if (destination === '') return cause ? because(cause) : not('DestinationInvalid', 'no account is named')
  const udp = problems.find(({ reason }) => reason === 'UdpNotEnforced')
  if (rule === null || permitsNothing(rule)) {
    const { reason, message } = cause ?? udp ?? emptiness(rule)
    return not(reason, `calls to ${destination} are enforced, and this target allows none: ${message}`)
  }
  const { sources } = rule
  const who = sources.length === 1 ? sources[0] : `${sources.length} accounts`
  const more = udp ? '; UDP is not carried by the mesh' : ''
  return yes(`calls to ${destination} are enforced, and this target allows some of ${who}${more}`)
}

function permitsNothing({ ports, http }: AccessRule): boolean {
  return ports?.length === 0 || http?.length === 0
}

/** Why a rule permits nothing where nothing is wrong with the target itself. */
function emptiness(rule: AccessRule | null): { reason: ProblemReason; message: string } {
  if (rule?.http?.length === 0)
    return { reason: 'MatchInvalid', message: 'no match that it names can be read; see the HTTPRouteGroup' }
  return {
    reason: 'PortInvalid',
    message: 'destination.port and the TCPRoutes have no port in common that can be read',
  }
}

/** `kind key` of all groups and routes that splits and targets name. */
function namedRoutes({ splits, targets }: Topology): ReadonlySet<string> {
  const named = new Set<string>()
  for (const { groups } of splits) for (const key of groups) named.add(`HTTPRouteGroup ${key}`)
  for (const { routes } of targets) for (const { kind, key } of routes) named.add(`${kind} ${key}`)
  return named
}

function matching(node: RouteGroupNode | PortRouteNode, named: ReadonlySet<string>): Enforced {
  const kind = 'kind' in node ? node.kind : 'HTTPRouteGroup'
  if (!named.has(`${kind} ${node.key}`))
    return not('NotReferenced', 'no TrafficSplit or TrafficTarget of the namespace names it')
  const isEmpty = 'matches' in node ? node.matches.length === 0 : node.ports?.length === 0
  const cause = node.problems.find(({ severity }) => severity === 'error')
  return isEmpty && cause ? because(cause) : yes('a TrafficSplit or TrafficTarget names it')
}
