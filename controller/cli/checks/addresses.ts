// What the controller keeps in the cluster, beside what it should keep: the same plan that the controller itself would carry
// out. A plan that is not empty is out of step.

import type { World } from '../../observe/world.ts'
import type { Settings } from '../../resolve/settings.ts'
import type { Topology } from '../../resolve/topology.ts'
import type { Translation } from '../../translate/translate.ts'
import { planLocks } from '../../update/lock.ts'
import { planServices } from '../../update/plan.ts'
import { type Check, check, shorten } from './check.ts'

const category = 'addresses'

/** The mesh Service, aliases, shadow Services and locks. */
export function checkAddresses(
  world: World,
  topology: Topology,
  translation: Translation,
  settings: Settings,
): Check[] {
  const mesh = `${settings.namespace}/${settings.meshService}`
  const service = world.services.get(mesh)
  const hint = 'the leader writes them within a second: see its log, and the Events of the Services'
  const plan = planServices(translation.services, world.services, settings)
  const names = (verb: string, steps: { verb: string; key: string }[]) =>
    steps.filter((step) => step.verb === verb).map(({ key }) => key)
  const steps = [...plan.withdraw, ...plan.addresses, ...plan.aliases, ...plan.cleanup].filter(
    ({ key }) => key !== mesh,
  )
  const locks = planLocks(translation.policies, world.policies)
  const policies = service?.spec.internalTrafficPolicy
  // An alias whose address is not there yet is in no plan.
  const waiting = translation.services
    .map(({ metadata }) => `${metadata.namespace}/${metadata.name}`)
    .filter((key) => key !== mesh && !world.services.has(key))
  const missing = [...new Set([...names('create', steps), ...waiting])]
  return [
    check(
      category,
      `Service ${mesh} has an address`,
      topology.mesh.address !== '' ? '' : service ? 'it has no ClusterIP that the mesh carries' : 'not found',
      hint,
    ),
    check(
      category,
      `Service ${mesh} stays on the node`,
      service === undefined || policies === 'Local' ? '' : `internalTrafficPolicy is ${policies}`,
      hint,
    ),
    check(category, 'every alias and address exists', shorten(missing), hint),
    check(category, 'every alias and address is as it should be', shorten(names('replace', steps)), hint),
    check(category, 'no alias or address is left over', shorten(names('delete', steps)), hint, 'warning'),
    check(
      category,
      'locks are as they should be',
      shorten([...locks.close, ...locks.open].map(({ key }) => key)),
      'see the log of the leader; it may lack the right to write NetworkPolicies',
    ),
  ]
}
