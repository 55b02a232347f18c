// The checks of `weft check` on a cluster: one line each, under headings, from the ground up. Pure functions on what was
// read, so that each can be tried on data.

import { crdName, type Served } from '../observe/discovery.ts'
import { smiKinds } from '../observe/kinds.ts'
import { keyOf } from '../observe/objects.ts'
import type { World } from '../observe/world.ts'
import type { Problem } from '../resolve/problem.ts'
import type { Settings } from '../resolve/settings.ts'
import type { Topology } from '../resolve/topology.ts'
import type { Translation } from '../translate/translate.ts'
import type { Installed } from './installed.ts'

export interface Check {
  category: string
  status: 'ok' | 'warning' | 'error'
  /** What is checked, and what was found if it is not as it should be. */
  text: string
  /** What to do; empty if nothing. */
  hint: string
}

/** Since when Services know internalTrafficPolicy for good. */
const oldestMinor = 26

function check(category: string, isGood: boolean, text: string, found = '', hint = '', isWarning = false): Check {
  if (isGood) return { category, status: 'ok', text, hint: '' }
  return { category, status: isWarning ? 'warning' : 'error', text: `${text}: ${found}`, hint }
}

/** The API server itself. */
export function checkVersion({
  major,
  minor,
  gitVersion,
}: {
  major: string
  minor: string
  gitVersion: string
}): Check[] {
  const isRecent = Number(major) > 1 || Number.parseInt(minor, 10) >= oldestMinor
  const hint = `upgrade Kubernetes to 1.${oldestMinor} or newer`
  return [
    check('Kubernetes', true, 'the API server answers'),
    check('Kubernetes', isRecent, `Kubernetes is 1.${oldestMinor} or newer`, gitVersion, hint),
  ]
}

/** The SMI kinds, ours or another product's. */
export function checkDefinitions(served: ReadonlyMap<string, Served>): Check[] {
  const hint = 'kubectl apply -k manifests/crds'
  return smiKinds.map((spec) => {
    const name = crdName(spec)
    const found = served.get(name)
    if (!found) return check('SMI definitions', false, `${name} is served`, 'not found', hint)
    const isOurs = found.hasStatus || spec.kind !== 'TrafficSplit'
    return check('SMI definitions', isOurs, `${name} is served`, 'by a definition without status', hint, true)
  })
}

/** Controller and agents. */
export function checkInstalled({ controller, agents, trouble }: Installed): Check[] {
  const install = 'kubectl apply -k manifests/base'
  const logs = (what: string) => `kubectl -n weft-system describe pods -l app.kubernetes.io/name=${what}`
  const checks = [check('controller', controller !== null, 'the controller is installed', 'not found', install)]
  if (controller) {
    const found = `${controller.ready} of ${controller.wanted} replicas`
    checks.push(check('controller', controller.ready > 0, 'the controller is ready', found, logs('weft-controller')))
    if (controller.ready > 0) {
      const isFull = controller.ready >= controller.wanted
      checks.push(check('controller', isFull, 'all replicas are ready', found, logs('weft-controller'), true))
    }
    checks.push(
      check('controller', trouble === '', "the controller's settings are valid", trouble, 'correct its flags'),
    )
  }
  checks.push(check('agents', agents !== null, 'the agents are installed', 'not found', install))
  if (agents) {
    const found = `${agents.ready} of ${agents.wanted}`
    const isReady = agents.wanted > 0 && agents.ready >= agents.wanted
    checks.push(check('agents', isReady, 'every node has a ready agent', found, logs('weft-agent')))
    const isCurrent = agents.updated >= agents.wanted
    const updated = `${agents.updated} of ${agents.wanted}`
    checks.push(
      check('agents', isCurrent, 'all agents are of the current version', updated, 'wait for the rollout', true),
    )
    const isSame = controller === null || controller.image === agents.image
    const images = `${controller?.image} and ${agents.image}`
    checks.push(check('agents', isSame, 'agents and controller have one image', images, 'finish the upgrade', true))
  }
  return checks
}

/** Nodes whose pods are in the mesh and that have no agent; their calls go nowhere. */
export function checkNodes({ nodes, services }: Topology): Check[] {
  const used = new Set(
    services.flatMap(({ isEnrolled, ports }) =>
      isEnrolled ? ports.flatMap(({ endpoints }) => endpoints.map(({ node }) => node)) : [],
    ),
  )
  const bare = nodes.filter(({ name, agent }) => agent === '' && used.has(name)).map(({ name }) => name)
  const hint = 'see what keeps the agent from starting there'
  return [check('agents', bare.length === 0, 'no meshed pod is on a node without agent', bare.join(', '), hint)]
}

/** What the controller keeps in the cluster. */
export function checkAddresses(
  world: World,
  topology: Topology,
  translation: Translation,
  settings: Settings,
): Check[] {
  const mesh = `${settings.namespace}/${settings.meshService}`
  const service = world.services.get(mesh)
  const hint = "read the controller's log"
  const missing = translation.services.map(keyOf).filter((key) => !world.services.has(key))
  return [
    check(
      'addresses',
      topology.mesh.address !== '',
      `Service ${mesh} has an address`,
      service ? 'no IPv4' : 'not found',
      hint,
    ),
    check(
      'addresses',
      service === undefined || service.spec.internalTrafficPolicy === 'Local',
      `Service ${mesh} stays on the node`,
      String(service?.spec.internalTrafficPolicy),
      hint,
    ),
    check('addresses', missing.length === 0, 'every alias and address exists', shorten(missing), hint),
  ]
}

/** One line for each problem, or one for none. */
export function checkProblems(problems: readonly Problem[], enrolled: number): Check[] {
  if (problems.length === 0) return [check('configuration', true, `${enrolled} Services in the mesh, no problems`)]
  return problems.map((problem) => ({
    category: 'configuration',
    status: problem.severity,
    text: `${describeProblem(problem)}`,
    hint: '',
  }))
}

/** `Kind namespace/name reason: message` */
export function describeProblem({ object, reason, message }: Problem): string {
  const { kind, namespace, name } = object
  return `${kind} ${namespace === '' ? name : `${namespace}/${name}`} ${reason}: ${message}`
}

function shorten(keys: string[]): string {
  const shown = keys.slice(0, 5).join(', ')
  return keys.length > 5 ? `${shown} and ${keys.length - 5} more` : shown
}
