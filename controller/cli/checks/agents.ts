// The agents: one ready on each node, of one version, with the newest snapshot and certificates that last.

import type { World } from '../../observe/world.ts'
import type { Topology } from '../../resolve/topology.ts'
import type { AgentFacts } from '../agents.ts'
import type { Installed } from '../installed.ts'
import { shortDuration } from '../table.ts'
import { type Check, check, shorten } from './check.ts'

const category = 'agents'

/** Rollout and images, as the DaemonSet has them. */
export function checkAgents({ controller, agents, namespace }: Installed & { namespace: string }): Check[] {
  const checks = [check(category, 'the agents are installed', agents ? '' : 'not found', 'weft install --apply')]
  if (agents === null) return checks
  const found = `${agents.ready} of ${agents.wanted}`
  const isReady = agents.wanted > 0 && agents.ready >= agents.wanted
  const pods = `kubectl -n ${namespace} describe pods -l app.kubernetes.io/name=weft-agent`
  checks.push(check(category, 'all agents are ready', isReady ? '' : found, pods))
  const isCurrent = agents.updated >= agents.wanted
  const updated = `${agents.updated} of ${agents.wanted}`
  const rollout = `kubectl -n ${namespace} rollout status daemonset/weft-agent`
  checks.push(check(category, 'all agents are of the current version', isCurrent ? '' : updated, rollout, 'warning'))
  const isSame = controller === null || controller.image === agents.image
  const images = `${controller?.image} and ${agents.image}`
  checks.push(check(category, 'agents and controller have one image', isSame ? '' : images, 'weft upgrade', 'warning'))
  return checks
}

interface LabelledNode {
  metadata: { name: string; labels?: Record<string, string> }
}

/** Whether a DaemonSet for Linux can run on a node: not on Windows, nor where there is no machine behind it. */
function takesAgents({ metadata: { labels = {} } }: LabelledNode): boolean {
  const isLinux = (labels['kubernetes.io/os'] ?? 'linux') === 'linux'
  return isLinux && labels['type'] !== 'virtual-kubelet' && labels['eks.amazonaws.com/compute-type'] !== 'fargate'
}

/** Nodes without a ready agent: clients on them reach nothing of the mesh, pods on them are not reached. */
export function checkNodes(world: World, { nodes, services }: Topology, namespace: string): Check[] {
  const expected = new Set([...world.nodes.values()].filter(takesAgents).map(({ metadata }) => metadata.name))
  const without = nodes.filter(({ agent }) => agent === '').map(({ name }) => name)
  const bare = without.filter((name) => expected.has(name))
  const used = new Set(
    services.flatMap(({ isEnrolled, ports }) =>
      isEnrolled ? ports.flatMap(({ endpoints }) => endpoints.map(({ node }) => node)) : [],
    ),
  )
  const meshed = without.filter((name) => used.has(name))
  const hint = `kubectl -n ${namespace} get pods -o wide -l app.kubernetes.io/name=weft-agent, and see what keeps one from starting there`
  return [
    check(category, 'every node has a ready agent', shorten(bare), hint),
    check(category, 'no meshed pod is on a node without agent', shorten(meshed), hint),
  ]
}

/** What a rolling update or a busy controller may take; after that an agent is behind. */
const lagMs = 10_000
/** Certificates last a day and are renewed after half of it: less than this left means that renewing fails. */
const leastLeft = 0.25

/**
 * What agents and controllers themselves say.
 * @param nowMs by the API server's clock
 * @param lifetimeMs of the certificates
 */
export function checkFacts(
  facts: readonly AgentFacts[],
  nowMs: number,
  namespace: string,
  lifetimeMs: number,
): Check[] {
  const ready = facts.filter(({ isReady }) => isReady)
  if (ready.length === 0) return []
  const name = ({ node, pod }: AgentFacts) => node || pod
  const logs = `kubectl -n ${namespace} logs POD; weft agents shows which`
  const unknown = ready.filter(({ snapshot }) => snapshot === 'unknown')
  const lost = ready.filter(({ snapshot }) => snapshot === 'unconnected').map(name)
  const behind = ready.filter((each) => each.snapshot === 'behind' && each.lagMs > lagMs)
  const refused = ready.filter(({ snapshot }) => snapshot === 'refused').map(name)
  const versions = [...new Set(ready.map(({ version }) => version).filter((each) => each !== ''))]
  const ending = ready.filter(({ expires }) => expires !== null && expires - nowMs < lifetimeMs * leastLeft)
  const troubled = ready.filter(({ trouble }) => trouble !== '').map((each) => `${name(each)}: ${each.trouble}`)
  const late = behind.map((each) => `${name(each)} by ${shortDuration(each.lagMs)}`)
  const left = ending.map((each) => {
    const ms = each.expires! - nowMs
    return ms <= 0 ? `${name(each)} ended` : `${name(each)} in ${shortDuration(ms)}`
  })
  if (unknown.length === ready.length) {
    const found = 'no controller replica could be asked'
    const hint = `the debug pages are read through port-forward, which needs the right to create pods/portforward in ${namespace}`
    return [check(category, 'the agents have the newest snapshot', found, hint, 'warning')]
  }
  return [
    check(category, 'all agents are connected to a controller', shorten(lost), logs),
    check(category, 'all agents have the newest snapshot', shorten(late), logs),
    check(
      category,
      'no agent has refused a snapshot',
      shorten(refused),
      `${logs}; agents and controller may be too far apart`,
    ),
    check(
      category,
      'all agents are of one version',
      versions.length > 1 ? versions.join(', ') : '',
      'weft upgrade',
      'warning',
    ),
    check(
      category,
      "the agents' certificates are renewed in time",
      shorten(left),
      'weft ca status, and the log of the controller',
    ),
    check(category, 'no agent reports a trouble', shorten(troubled, 3), logs, 'warning'),
  ]
}
