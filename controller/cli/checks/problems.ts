// The configuration: what the controller finds wrong with the objects of users, in its own words.

import type { Problem } from '../../resolve/problem.ts'
import { type Check, check } from './check.ts'

/** The heading of these checks: a configuration that is not right ends the command in another way than a broken mesh. */
export const configuration = 'configuration'

/** One line for each problem, or one for none. */
export function checkProblems(problems: readonly Problem[], enrolled: number): Check[] {
  if (problems.length === 0) return [check(configuration, `${enrolled} Services in the mesh, no problems`, '')]
  return problems.map((problem) => ({
    category: configuration,
    status: problem.severity,
    text: describeProblem(problem),
    hint: '',
  }))
}

/** `Kind namespace/name reason: message` */
export function describeProblem({ object, reason, message }: Problem): string {
  const { kind, namespace, name } = object
  return `${kind} ${namespace === '' ? name : `${namespace}/${name}`} ${reason}: ${message}`
}
