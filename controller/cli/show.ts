// The commands that only read: `check`, `endpoints`, `agents`, `version`.

import { Option } from 'commander'
import { defaultSettings } from '../resolve/settings.ts'
import { type Context, waitOption } from './context.ts'
import { exits } from './exits.ts'
import { checkFiles, exitOf, formatReport } from './files.ts'
import { ownVersion } from './own.ts'
import { type Format, formatChecks, printable } from './print.ts'

interface CheckFlags {
  filename?: string[]
  cluster?: boolean
  pre?: boolean
  output: Format
  failOn: 'warn' | 'error'
  wait: number
}

/** Adds `check`. */
export function addCheck(context: Context): void {
  const { name } = context
  context.program
    .command('check')
    .description('check the mesh, or whether one could be installed')
    .option('--pre', 'whether a mesh could be installed here')
    .option('-f, --filename <file...>', 'check manifests instead, - for standard input; see also validate')
    .option('--cluster', 'with -f: judge the manifests together with what the cluster has')
    .addOption(
      new Option('-o, --output <format>', 'how to print').choices(['text', 'table', 'json', 'short']).default('text'),
    )
    .addOption(
      new Option('--fail-on <severity>', 'least severity to fail on').choices(['warn', 'error']).default('error'),
    )
    .addOption(waitOption('how long to wait until all is well', '0'))
    .addHelpText(
      'after',
      `
√ is well, ‼ works but hardly as meant, × does not work; below each of these stands what to do. With -n only problems of
that namespace's objects count, -o short leaves out what is well.

Exit codes: ${exits.ok} all is well, ${exits.failed} the mesh has a fault, ${exits.unavailable} the cluster can't be reached, \
${exits.problems} only the configuration has problems.

Examples:
  ${name} check --wait 2m
  ${name} check -n shop -o short --fail-on warn
`,
    )
    .action(async (flags: CheckFlags) => {
      const run = flags.filename === undefined ? runCluster(context, flags) : runFiles(context, flags, flags.filename)
      context.end(await run)
    })
}

async function runCluster(context: Context, { output, failOn, wait, pre = false }: CheckFlags): Promise<number> {
  const { namespace, allNamespaces, meshNamespace } = context.globals()
  const { checkCluster } = await import('./check.ts')
  return context.withCluster(async (cluster) => {
    const wanted = allNamespaces ? null : (namespace ?? null)
    const options = { meshNamespace, namespace: wanted, failOn, isPre: pre, waitMs: wait }
    const { checks, exitCode } = await checkCluster(cluster, options)
    context.print(formatChecks(checks, output, context.name))
    return exitCode
  })
}

async function runFiles(context: Context, { cluster, output, failOn }: CheckFlags, files: string[]): Promise<number> {
  const { namespace, meshNamespace } = context.globals()
  const isRecursive = false
  if (!cluster) {
    const settings = { ...defaultSettings, namespace: meshNamespace }
    const report = await checkFiles({ files, isRecursive, namespace: namespace ?? 'default', settings, cluster: null })
    context.print(formatReport(report, output))
    return exitOf(report, failOn)
  }
  const [{ readInventory }, { readInstalled }] = await Promise.all([import('./cluster.ts'), import('./installed.ts')])
  return context.withCluster(async (opened) => {
    const [{ settings }, { world }] = await Promise.all([
      readInstalled(opened.api, meshNamespace),
      readInventory(opened.api),
    ])
    const own = namespace ?? opened.namespace
    const report = await checkFiles({ files, isRecursive, namespace: own, settings, cluster: world })
    context.print(formatReport(report, output))
    return exitOf(report, failOn)
  })
}

/** Adds `endpoints`. */
export function addEndpoints(context: Context): void {
  context.program
    .command('endpoints')
    .description("list the mesh's Services: names, addresses, and what to change in a client")
    .addOption(new Option('-o, --output <format>', 'how to print').choices(['table', 'wide', 'json']).default('table'))
    .addHelpText(
      'after',
      `
A client in the Service's own namespace may leave the namespace out (reviews-mesh:9080). The mesh domain's names, with
-o wide, need the cluster's DNS to know them: ${context.name} dns install.
`,
    )
    .action(async ({ output }: { output: 'table' | 'wide' | 'json' }) => {
      const { formatAddresses, listAddresses } = await import('./endpoints.ts')
      const { readInventory } = await import('./cluster.ts')
      const { readInstalled } = await import('./installed.ts')
      const { resolve } = await import('../resolve/resolve.ts')
      await context.withCluster(async (cluster) => {
        const { namespace = cluster.namespace, allNamespaces, meshNamespace } = context.globals()
        const [{ settings }, { world }] = await Promise.all([
          readInstalled(cluster.api, meshNamespace),
          readInventory(cluster.api),
        ])
        const wanted = allNamespaces ? null : namespace
        const list = listAddresses(world, resolve(world, settings, null, Date.now()), settings, wanted)
        context.print(formatAddresses(list, output))
        if (list.length > 0 || output === 'json') return
        const where = wanted === null ? 'any namespace' : `namespace ${wanted}`
        context.tell(
          `no Service of ${where} is in the mesh; let them in with: kubectl label namespace ${wanted ?? 'NAME'} weft.dev/mesh=enabled`,
        )
      })
    })
}

/** Adds `agents`. */
export function addAgents(context: Context): void {
  context.program
    .command('agents')
    .description('list the agents: versions, snapshots, certificates')
    .addOption(new Option('-o, --output <format>', 'how to print').choices(['table', 'json']).default('table'))
    .addHelpText(
      'after',
      `
Read from the debug pages of controllers and agents by port-forward, which needs the right to create pods/portforward in
the mesh's namespace. SNAPSHOT says what an agent made of the newest one; CERTIFICATES how many identities it has, and when
the first of them ends unless it is renewed.
`,
    )
    .action(async ({ output }: { output: 'table' | 'json' }) => {
      const { formatAgents, readAgents, readThrough } = await import('./agents.ts')
      const { readServerTime } = await import('./facts.ts')
      await context.withCluster(async ({ api, cluster }) => {
        const { meshNamespace } = context.globals()
        const [agents, nowMs] = await Promise.all([
          readAgents(api, readThrough(cluster), meshNamespace),
          readServerTime(cluster),
        ])
        context.print(formatAgents(agents, nowMs ?? Date.now(), output))
        if (agents.length > 0 || output === 'json') return
        context.tell(`no agent was found in ${meshNamespace}; see ${context.name} check`)
        context.end(exits.failed)
      })
    })
}

/** Adds `version`. */
export function addVersion(context: Context): void {
  context.program
    .command('version')
    .description('print versions')
    .option('--client', 'of this tool alone')
    .option('--short', 'the bare versions')
    .action(async (flags: { client?: boolean; short?: boolean }) => {
      context.print(flags.short ? `${ownVersion()}\n` : `Client: ${ownVersion()}\n`)
      if (flags.client) return
      const { readInstalled } = await import('./installed.ts')
      await context.withCluster(async ({ api }) => {
        const { controller, agents } = await readInstalled(api, context.globals().meshNamespace)
        for (const [title, part] of Object.entries({ Controller: controller, Agents: agents })) {
          const image = printable(part?.image ?? 'not installed')
          context.print(flags.short ? `${image}\n` : `${title}: ${image}\n`)
        }
      })
    })
}
