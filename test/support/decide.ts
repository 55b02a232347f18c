// What the mesh decides in a world of manifests: the controller's stages and the agent's decisions behind each other,
// without a socket between them.

import { permit } from '../../agent/inbound/permit.ts'
import { buildNext, emptyStand } from '../../agent/mesh/apply.ts'
import { compileAll } from '../../agent/mesh/compile.ts'
import type { MatchInput } from '../../agent/mesh/match.ts'
import type { Port, Snapshot } from '../../agent/mesh/snapshot.ts'
import { divide } from '../../agent/outbound/divide.ts'
import type { Problem } from '../../controller/resolve/problem.ts'
import type { Settings } from '../../controller/resolve/settings.ts'
import { change } from './resources.ts'
import { type Pass, passOf, said, worldOf } from './world.ts'

export interface Decided {
  readonly pass: Pass
  /** As an agent on node1 builds it. */
  readonly snapshot: Snapshot
  readonly problems: readonly Problem[]
  /** `Kind name: Reason` of each problem. */
  readonly said: readonly string[]
  /** Where requests to a port of a Service go, in percent, by the backend's Service, `own` or the reason of the refusal. */
  shares(service: string, port: number, input: MatchInput | null): Record<string, number>
  /** Whether an account may call a port of another account's pods. */
  allows(source: string | null, destination: string, port: number, input: MatchInput | null): boolean
}

/** Decides over a world; names without a namespace are in `shop`. */
export function decide(documents: readonly string[], settings: Partial<Settings> = {}): Decided {
  const pass = passOf(worldOf(documents.join('\n---\n')), settings)
  const { common, nodes, problems } = pass.translation
  const resources = [...common, ...(nodes.get('node1') ?? [])].map(({ resource }) => resource)
  const { snapshot } = buildNext(emptyStand, '1', change(...resources), {
    node: 'node1',
    now: () => 0,
    compile: compileAll,
  }).stand
  const key = (name: string) => (name.includes('/') ? name : `shop/${name}`)
  return {
    pass,
    snapshot,
    problems,
    said: said(problems),
    shares(service, number, input) {
      const port = snapshot.services.get(key(service))?.ports.get(number)
      if (port === undefined) throw new Error(`${key(service)} has no port ${number}`)
      return sharesOf(port, input)
    },
    allows: (source, destination, port, input) =>
      permit(snapshot, source === null ? null : key(source), key(destination), port, input).isAllowed,
  }
}

/** Asks for evenly spread numbers instead of random ones: the shares come out exact. */
function sharesOf(port: Port, input: MatchInput | null): Record<string, number> {
  const counts = new Map<string, number>()
  for (let at = 0; at < 1000; at++) {
    const chosen = divide(port, input, (at + 0.5) / 1000)
    const name =
      chosen === port.own ? 'own' : 'service' in chosen ? chosen.service.replace(/^shop\//, '') : chosen.reason
    counts.set(name, (counts.get(name) ?? 0) + 1)
  }
  return Object.fromEntries([...counts].map(([name, count]) => [name, count / 10]))
}
