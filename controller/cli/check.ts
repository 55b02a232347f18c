// `weft check` on a cluster: reads it, runs the checks from the ground up, and can wait until they pass.

import { setTimeout as sleep } from 'node:timers/promises'
import { ApiError, hasStatus, messageOf } from '../errors.ts'
import { resolve } from '../resolve/resolve.ts'
import { translate } from '../translate/translate.ts'
import { readAgents, readThrough } from './agents.ts'
import { checkAddresses } from './checks/addresses.ts'
import { checkAgents, checkFacts, checkNodes } from './checks/agents.ts'
import type { Check } from './checks/check.ts'
import { checkController, checkLeader, checkTrust } from './checks/controller.ts'
import { checkDefinitions, checkForeign } from './checks/definitions.ts'
import { checkClocks, checkRights, checkVersion, rightsToCheck, rightsToInstall } from './checks/kubernetes.ts'
import { checkNames } from './checks/names.ts'
import { checkPolicies } from './checks/policies.ts'
import { checkProblems, configuration } from './checks/problems.ts'
import { checkProxy } from './checks/proxy.ts'
import { type OpenedCluster, readInventory } from './cluster.ts'
import { nodeLocalAdvice } from './dns/advice.ts'
import { readDns } from './dns/block.ts'
import { askThrough, verify } from './dns/verify.ts'
import { exits, isUnreachable } from './exits.ts'
import {
  readDefinitions,
  readDenied,
  readHeartbeats,
  readLeadership,
  readProxy,
  readServerTime,
  readTrust,
} from './facts.ts'
import { type Installed, readInstalled } from './installed.ts'

export interface ClusterReport {
  checks: Check[]
  exitCode: number
}

export interface CheckOptions {
  /** The mesh's own namespace. */
  meshNamespace: string
  /** Whose problems count; null: all. */
  namespace: string | null
  failOn: 'warn' | 'error'
  /** Only whether a mesh could be installed. */
  isPre: boolean
  waitMs: number
}

/** Between two attempts while waiting. */
const pauseMs = 1_000

/** Checks a cluster, again and again until all is well or the time is over. */
export async function checkCluster(cluster: OpenedCluster, options: CheckOptions): Promise<ClusterReport> {
  const deadline = Date.now() + options.waitMs
  for (;;) {
    const report = await checkOnce(cluster, options)
    const isWorthWaiting = report.exitCode === exits.failed || report.exitCode === exits.unavailable
    if (!isWorthWaiting || Date.now() + pauseMs > deadline) return report
    await sleep(pauseMs)
  }
}

async function checkOnce(cluster: OpenedCluster, options: CheckOptions): Promise<ClusterReport> {
  const checks: Check[] = []
  try {
    const nowMs = await checkGround(cluster, options, checks)
    if (options.isPre) await checkBefore(cluster, checks)
    else await checkMesh(cluster, options, nowMs, checks)
    return { checks, exitCode: exitOf(checks, options.failOn) }
  } catch (error) {
    if (!(error instanceof ApiError)) throw error
    const isAway = isUnreachable(error)
    const hint = isAway ? 'kubectl cluster-info' : 'your account needs to list what the mesh is made of'
    // Where a right is missing, the line about rights has said so already.
    const isSaid = hasStatus(error, 403) && checks.some(({ status }) => status === 'error')
    if (!isSaid) checks.push({ category: 'Kubernetes', status: 'error', text: messageOf(error), hint })
    return { checks, exitCode: isAway ? exits.unavailable : exits.failed }
  }
}

/** @returns the API server's time, or this machine's if it does not tell */
async function checkGround({ api, cluster }: OpenedCluster, options: CheckOptions, checks: Check[]): Promise<number> {
  checks.push(...checkVersion(await api.request('GET', '/version')))
  const { isPre, meshNamespace } = options
  const rights = isPre ? rightsToInstall(meshNamespace) : rightsToCheck(meshNamespace)
  checks.push(...checkRights(await readDenied(api, rights), isPre ? 'to install the mesh' : 'that these checks need'))
  const localMs = Date.now()
  const [serverMs, heartbeats] = await Promise.all([readServerTime(cluster), readHeartbeats(api)])
  checks.push(...checkClocks(serverMs, localMs, heartbeats))
  return serverMs ?? localMs
}

async function checkBefore({ api }: OpenedCluster, checks: Check[]): Promise<void> {
  const [definitions, proxy] = await Promise.all([readDefinitions(api), readProxy(api)])
  checks.push(...checkForeign(definitions), ...checkProxy(proxy))
}

async function checkMesh(
  cluster: OpenedCluster,
  { meshNamespace, namespace }: CheckOptions,
  nowMs: number,
  checks: Check[],
): Promise<void> {
  const { api } = cluster
  const installed = await readInstalled(api, meshNamespace)
  const { settings } = installed
  const [{ world, served }, definitions, proxy] = await Promise.all([
    readInventory(api),
    readDefinitions(api),
    readProxy(api),
  ])
  checks.push(...checkDefinitions(served, definitions))
  checks.push(...checkController(installed, meshNamespace))
  if ((installed.controller?.ready ?? 0) > 0) {
    checks.push(...checkLeader(await readLeadership(api, meshNamespace), nowMs, meshNamespace))
    checks.push(...checkTrust(await readTrust(api, meshNamespace), nowMs))
  }
  checks.push(...checkAgents({ ...installed, namespace: meshNamespace }))

  const topology = resolve(world, settings, null, nowMs)
  const translation = translate(topology, settings)
  if (installed.agents !== null) {
    checks.push(...checkNodes(world, topology, meshNamespace))
    const facts = await readAgents(api, readThrough(cluster.cluster), meshNamespace)
    checks.push(...checkFacts(facts, nowMs, meshNamespace, installed.certificateMs))
  }
  if (installed.controller !== null) checks.push(...checkAddresses(world, topology, translation, settings))
  checks.push(...checkProxy(proxy), ...checkPolicies(world, topology, settings))
  if (installed.controller !== null) checks.push(...(await checkDomain(cluster, installed)))
  const problems = translation.problems.filter(({ object }) => namespace === null || object.namespace === namespace)
  const enrolled = topology.services.filter(({ isEnrolled }) => isEnrolled).length
  checks.push(...checkProblems(problems, enrolled))
}

async function checkDomain(cluster: OpenedCluster, { settings }: Installed): Promise<Check[]> {
  try {
    const state = await readDns(cluster.api, settings.namespace)
    // Where an owner of CoreDNS has put the block in himself, asking is the only way to know.
    const isWanted = state.block === 'present' || state.place.owner !== 'none'
    const verdict = isWanted ? await verify(cluster.api, askThrough(cluster), state, 0) : null
    const isBypassed = nodeLocalAdvice(state.place, state.domain, state.address) !== null
    return checkNames(state, verdict, isBypassed)
  } catch (error) {
    if (!hasStatus(error, 403)) throw error
    const hint = 'the cluster’s DNS is read in kube-system'
    return [{ category: 'names', status: 'warning', text: messageOf(error), hint }]
  }
}

/** A mesh that does not stand comes before a configuration that is not right. */
function exitOf(checks: Check[], failOn: 'warn' | 'error'): number {
  const isBad = ({ status }: Check) => status === 'error' || (failOn === 'warn' && status === 'warning')
  const bad = checks.filter(isBad)
  if (bad.some(({ category }) => category !== configuration)) return exits.failed
  return bad.length > 0 ? exits.problems : exits.ok
}
