// `weft uninstall`: the removal of everything of ours, as YAML for a pipe, or done. What users wrote stays, but for their SMI
// objects where the definitions go too, which has to be asked for.

import type { OpenedCluster } from '../cluster.ts'
import { type Context, waitOption } from '../context.ts'
import { planRemove, readDns } from '../dns/block.ts'
import { Exit, exits } from '../exits.ts'
import { readInstalled } from '../installed.ts'
import { printable } from '../print.ts'
import { nameOf } from './apply.ts'
import { printObjects } from './manifests.ts'
import { findOurs, type Removals, removeAll, removeEvents, untilGone, untilStopped } from './remove.ts'

interface Flags {
  apply?: boolean
  dryRun?: boolean
  crds?: boolean
  force?: boolean
  yes?: boolean
  wait: number
}

const about = (name: string) => `
Goes: the controller, the agents and their namespace, aliases, locks, cluster roles, admission policies, and the block in
CoreDNS, byte for byte. Stays: your namespaces with their labels, your Services, and your SMI objects with their definitions
unless --crds says otherwise. First let clients go back to the Services' own names.

Examples:
  ${name} uninstall --dry-run
  ${name} uninstall | kubectl delete --ignore-not-found -f -    (run ${name} dns remove first)
  ${name} uninstall --apply
`

/** Adds the command. */
export function addUninstall(context: Context): void {
  context.program
    .command('uninstall')
    .description('print what removes the mesh, or remove it')
    .option('--apply', 'remove it from the cluster')
    .option('--dry-run', 'only list what would go')
    .option('--crds', 'also the SMI kinds, and with them every object of theirs')
    .option('--force', 'even if Services are in the mesh still')
    .option('-y, --yes', 'do not ask at a terminal')
    .addOption(waitOption('how long to wait until all is gone', '3m'))
    .addHelpText('after', about(context.name))
    .action((flags: Flags) => context.withCluster((cluster) => uninstall(context, cluster, flags)))
}

async function uninstall(context: Context, { api }: OpenedCluster, flags: Flags): Promise<void> {
  const { meshNamespace } = context.globals()
  const { release, settings } = await readInstalled(api, meshNamespace)
  const found = await findOurs(api, settings)
  warn(context, found, flags)
  const definitions = flags.crds ? found.definitions : []
  const all = [...found.controller, ...found.scattered, ...found.rest, ...definitions]
  const dns = planRemove(api, meshNamespace, await readDns(api, meshNamespace))

  if (flags.dryRun) {
    if (dns.diff !== '') context.print(dns.diff.split('\n').map(printable).join('\n'))
    context.print(all.map(({ object }) => `${printable(nameOf(object))}\n`).join(''))
    return
  }
  if (!flags.apply) {
    if (dns.diff !== '')
      context.tell(`‼ the block in CoreDNS is not among these; take it out with: ${context.name} dns remove`)
    context.print(printObjects(all.map(({ object }) => bare(object))))
    return
  }
  if (release !== '') {
    throw new Exit(
      exits.failed,
      `Helm installed this mesh: helm -n ${meshNamespace} uninstall ${printable(release)}, then run this for what the controller wrote`,
    )
  }
  if (found.enrolled.length > 0 && !flags.force) {
    throw new Exit(
      exits.failed,
      `${found.enrolled.length} Services are in the mesh still (${shorten(found.enrolled)}), and clients that use their mesh names would fail; take the label weft.dev/mesh off, or go on with --force`,
    )
  }
  if (all.length > 0) {
    context.tell(`${all.length} objects go; --dry-run lists them`)
    await context.confirm('Remove the mesh?', flags.yes ?? false)
  }
  const tell = ({ object }: { object: Parameters<typeof nameOf>[0] }) =>
    context.print(`${printable(nameOf(object))} removed\n`)
  await dns.make()
  if (dns.diff !== '') context.print('the block in CoreDNS removed\n')
  await removeAll(api, found.controller, tell)
  await untilStopped(api, meshNamespace, flags.wait)
  // Again, since the controller may have written until now.
  const { scattered } = await findOurs(api, settings)
  await removeAll(api, [...scattered, ...found.rest, ...definitions], tell)
  await removeEvents(api)
  await untilGone(api, [...found.rest, ...definitions], flags.wait)
  context.tell(all.length === 0 ? 'nothing of the mesh was found' : '√ nothing of the mesh is left')
}

function warn(context: Context, { definitions, userObjects }: Removals, { crds }: Flags): void {
  const list = userObjects.map(({ name, count }) => `${count} ${name}`).join(', ')
  if (crds && userObjects.length > 0) context.tell(`‼ these objects of users go with the definitions: ${list}`)
  if (!crds && definitions.length > 0) {
    const why = userObjects.length > 0 ? `, with ${list}` : ''
    context.tell(`the SMI definitions stay${why}; --crds takes them too`)
  }
}

/** Without labels: a manifest to delete by. */
function bare({
  apiVersion,
  kind,
  metadata: { name, namespace },
}: Parameters<typeof nameOf>[0] & { apiVersion: string }) {
  return { apiVersion, kind, metadata: namespace === undefined ? { name } : { name, namespace } }
}

function shorten(keys: readonly string[]): string {
  return keys.length > 5 ? `${keys.slice(0, 5).join(', ')} and ${keys.length - 5} more` : keys.join(', ')
}
