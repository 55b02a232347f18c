// `weft check` on a cluster: reads it, runs the checks in the order in which they depend on each other, and can wait until
// they pass.

import { setTimeout as sleep } from 'node:timers/promises'
import { ApiError, messageOf } from '../errors.ts'
import type { Api } from '../observe/api.ts'
import { resolve } from '../resolve/resolve.ts'
import { translate } from '../translate/translate.ts'
import {
  type Check,
  checkAddresses,
  checkDefinitions,
  checkInstalled,
  checkNodes,
  checkProblems,
  checkVersion,
} from './checks.ts'
import { readInventory } from './cluster.ts'
import { exits, isUnreachable } from './exits.ts'
import { readInstalled } from './installed.ts'

export interface ClusterReport {
  checks: Check[]
  exitCode: number
}

/** Between two attempts while waiting. */
const pauseMs = 1_000

/**
 * Checks a cluster, again and again until all is well or the time is over.
 * @param meshNamespace the mesh's own
 * @param namespace whose problems count; null: all
 */
export async function checkCluster(
  api: Api,
  meshNamespace: string,
  namespace: string | null,
  failOn: 'warn' | 'error',
  waitMs: number,
): Promise<ClusterReport> {
  const deadline = Date.now() + waitMs
  for (;;) {
    const report = await checkOnce(api, meshNamespace, namespace, failOn)
    const isWorthWaiting = report.exitCode === exits.failed || report.exitCode === exits.unavailable
    if (!isWorthWaiting || Date.now() + pauseMs > deadline) return report
    await sleep(pauseMs)
  }
}

async function checkOnce(
  api: Api,
  meshNamespace: string,
  namespace: string | null,
  failOn: 'warn' | 'error',
): Promise<ClusterReport> {
  const checks: Check[] = []
  try {
    checks.push(...checkVersion(await api.request('GET', '/version')))
    const installed = await readInstalled(api, meshNamespace)
    const { world, served } = await readInventory(api)
    checks.push(...checkDefinitions(served), ...checkInstalled(installed))
    const topology = resolve(world, installed.settings, null, Date.now())
    const translation = translate(topology, installed.settings)
    if (installed.agents !== null) checks.push(...checkNodes(topology))
    if (installed.controller !== null) checks.push(...checkAddresses(world, topology, translation, installed.settings))
    const problems = translation.problems.filter(({ object }) => namespace === null || object.namespace === namespace)
    const enrolled = topology.services.filter(({ isEnrolled }) => isEnrolled).length
    checks.push(...checkProblems(problems, enrolled))
    return { checks, exitCode: exitOf(checks, failOn) }
  } catch (error) {
    if (!(error instanceof ApiError)) throw error
    const hint = isUnreachable(error) ? 'kubectl cluster-info' : 'your account needs to list what the mesh is made of'
    checks.push({ category: 'Kubernetes', status: 'error', text: messageOf(error), hint })
    return { checks, exitCode: isUnreachable(error) ? exits.unavailable : exits.failed }
  }
}

/** A mesh that does not stand comes before a configuration that is not right. */
function exitOf(checks: Check[], failOn: 'warn' | 'error'): number {
  const isBad = ({ status }: Check) => status === 'error' || (failOn === 'warn' && status === 'warning')
  const bad = checks.filter(isBad)
  if (bad.some(({ category }) => category !== 'configuration')) return exits.failed
  return bad.length > 0 ? exits.problems : exits.ok
}
