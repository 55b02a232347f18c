// `weft install` and `weft upgrade`: the manifests as YAML for a pipe, or applied and waited for.

import { setTimeout as sleep } from 'node:timers/promises'
import type { Api } from '../../observe/api.ts'
import type { OpenedCluster } from '../cluster.ts'
import { type Context, collect, waitOption } from '../context.ts'
import { Exit, exits } from '../exits.ts'
import { type Installed, readInstalled } from '../installed.ts'
import { distanceFault, ownVersion } from '../own.ts'
import { printable } from '../print.ts'
import { applyObjects, untilServed } from './apply.ts'
import { type Manifest, printObjects, readManifests } from './manifests.ts'
import { imageOf, readValues, setValues, values } from './values.ts'

interface Flags {
  overlay?: string
  image?: string
  set?: string[]
  crds: boolean
  apply?: boolean
  dryRun?: boolean
  wait: number
  forceConflicts?: boolean
  force?: boolean
}

const meshNamespace = 'weft-system'
/** What the manifests name until somebody says which image it is. */
const placeholder = 'weft:dev'

const valuesHelp = `
Values for --set:
${Object.entries(values)
  .map(([name, { about }]) => `  ${name.padEnd(36)} ${about}`)
  .join('\n')}
`

/** Adds both commands. */
export function addInstall(context: Context): void {
  const { name } = context
  shared(context, 'install')
    .description('print the manifests of the mesh, or apply them')
    .option('--apply', 'apply them to the cluster, and wait until the mesh is ready')
    .option('--dry-run', 'with --apply: only say what would change')
    .addHelpText(
      'after',
      `${valuesHelp}
Examples:
  ${name} install --image registry.example/weft:0.1.0 | kubectl apply --server-side -f -
  ${name} install --image registry.example/weft:0.1.0 --set mesh.defaultAccess=deny --apply
`,
    )
    .action((flags: Flags) => install(context, flags))
  shared(context, 'upgrade')
    .description('apply the manifests of this version over those of another, and wait until all agents are new')
    .option('--dry-run', 'only say what would change')
    .option('--force', 'even if the versions are more than one minor version apart')
    .addHelpText(
      'after',
      `${valuesHelp}
What was set when the mesh was installed stays set. No request fails: each node's new agent is ready before the old one
drains.

Example:
  ${name} upgrade --image registry.example/weft:${ownVersion()}
`,
    )
    .action((flags: Flags) => upgrade(context, flags))
}

function shared({ program }: Context, command: string) {
  return program
    .command(command)
    .option('--overlay <name>', 'dev, ha, restricted, or a folder with a kustomization of your own; needs kubectl')
    .option('--image <image>', 'image of controller and agents')
    .option('--set <name=value>', 'set a value (repeatable)', collect)
    .option('--no-crds', 'without the SMI kinds: another product keeps them')
    .option('--force-conflicts', 'take over fields that somebody else owns')
    .addOption(waitOption('how long to wait until the mesh is ready; 0: do not wait', '5m'))
}

async function read(context: Context, flags: Flags, before: Record<string, string>): Promise<Manifest[]> {
  if (context.globals().meshNamespace !== meshNamespace) {
    throw new Exit(
      exits.usage,
      `--mesh-namespace: these manifests are for ${meshNamespace}; for another namespace use the Helm chart or an overlay with --overlay`,
    )
  }
  const image = flags.image === undefined ? [] : [`image=${flags.image}`]
  const given = { ...before, ...readValues([...(flags.set ?? []), ...image]) }
  const objects = await readManifests(flags.overlay)
  setValues(objects, given)
  return flags.crds ? objects : objects.filter(({ kind }) => kind !== 'CustomResourceDefinition')
}

async function install(context: Context, flags: Flags): Promise<void> {
  if (!flags.apply) {
    if (flags.dryRun) throw new Exit(exits.usage, '--dry-run: only with --apply; without it nothing is changed anyway')
    const objects = await read(context, flags, {})
    if (imageOf(objects) === placeholder) {
      context.tell(`‼ the image is ${placeholder}, which nodes must have already; say which one with --image`)
    }
    context.print(printObjects(objects))
    return
  }
  await context.withCluster(async (cluster) => {
    const installed = await refuseHelm(cluster.api, context)
    const objects = await read(context, flags, installed.values)
    await bring(context, cluster, objects, flags)
  })
}

async function upgrade(context: Context, flags: Flags): Promise<void> {
  await context.withCluster(async (cluster) => {
    const installed = await refuseHelm(cluster.api, context)
    const { controller, version } = installed
    if (controller === null) {
      throw new Exit(
        exits.failed,
        `no mesh is installed in ${meshNamespace}; install one with: ${context.name} install --apply`,
      )
    }
    const fault = distanceFault(version, ownVersion())
    if (fault !== null && !flags.force) throw new Exit(exits.failed, `${fault}, or go on with --force`)
    const objects = await read(context, flags, withoutImage(installed.values))
    if (imageOf(objects) === placeholder && controller.image !== placeholder) {
      throw new Exit(
        exits.usage,
        `--image: must be given, such as ${repositoryOf(controller.image)}:${ownVersion()}; now it is ${printable(controller.image)}`,
      )
    }
    context.tell(`${version || 'unknown version'} → ${ownVersion()}, ${controller.image} → ${imageOf(objects)}`)
    await bring(context, cluster, objects, flags)
  })
}

/** The image is what an upgrade changes. */
function withoutImage({ image: _, ...rest }: Record<string, string>): Record<string, string> {
  return rest
}

function repositoryOf(image: string): string {
  return printable(image.replace(/@.*$/, '').replace(/:[^/:]*$/, ''))
}

async function refuseHelm(api: Api, { name }: Context): Promise<Installed> {
  const installed = await readInstalled(api, meshNamespace)
  if (installed.release === '') return installed
  throw new Exit(
    exits.failed,
    `Helm installed this mesh (release ${printable(installed.release)}): use helm upgrade; ${name} check works all the same`,
  )
}

/** Applies, and waits. */
async function bring(context: Context, { api }: OpenedCluster, objects: Manifest[], flags: Flags): Promise<void> {
  const { dryRun: isDry = false, forceConflicts: isForced = false, wait } = flags
  const options = {
    isDry,
    isForced,
    tell: (line: string) => context.print(`${printable(line)}${isDry ? ' (dry run)' : ''}\n`),
  }
  const definitions = objects.filter(({ kind }) => kind === 'CustomResourceDefinition')
  let changes = await applyObjects(api, definitions, options)
  if (!isDry) await untilServed(api, definitions)
  changes += await applyObjects(
    api,
    objects.filter((each) => !definitions.includes(each)),
    options,
  )
  if (isDry || wait === 0) return
  context.tell(
    changes === 0 ? 'nothing has changed; waiting until the mesh is ready …' : 'waiting until the mesh is ready …',
  )
  await untilReady(api, context, wait)
  context.tell(
    `√ the mesh is ready. Next: kubectl label namespace NAME weft.dev/mesh=enabled, then ${context.name} endpoints -n NAME`,
  )
}

const pauseMs = 1_000

async function untilReady(api: Api, { name }: Context, waitMs: number): Promise<void> {
  const deadline = Date.now() + waitMs
  for (;;) {
    const waiting = waitingFor(await readInstalled(api, meshNamespace))
    if (waiting.length === 0) return
    if (Date.now() + pauseMs > deadline) {
      throw new Exit(exits.failed, `not ready in time: ${waiting.join(', ')}; find out why with: ${name} check`)
    }
    await sleep(pauseMs)
  }
}

/** What an installation still lacks. */
export function waitingFor({ controller, agents }: Installed): string[] {
  const waiting: string[] = []
  const isDone = (part: { isObserved: boolean; wanted: number; ready: number; updated: number }) =>
    part.isObserved && part.ready >= part.wanted && part.updated >= part.wanted
  if (controller === null || !isDone(controller)) {
    waiting.push(`controller (${controller?.ready ?? 0} of ${controller?.wanted ?? 0} ready)`)
  }
  if (agents === null || !isDone(agents) || agents.wanted === 0) {
    waiting.push(`agents (${agents?.ready ?? 0} of ${agents?.wanted ?? 0} ready, ${agents?.updated ?? 0} new)`)
  }
  return waiting
}
