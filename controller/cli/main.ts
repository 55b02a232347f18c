#!/usr/bin/env node
// The command line tool, `weft` or as a plugin `kubectl weft`: commands, their flags and exit codes. Reads; only
// `ca rotate` writes.
// What needs a cluster is imported when it is needed: the Kubernetes client takes longer to load than most commands to run.

import { readFileSync } from 'node:fs'
import { basename } from 'node:path'
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander'
import { messageOf } from '../errors.ts'
import type { Api } from '../observe/api.ts'
import { duration, OptionError } from '../options.ts'
import { defaultSettings } from '../resolve/settings.ts'
import type { ClusterOptions } from './cluster.ts'
import { completionOf, shells } from './completion.ts'
import { Exit, exits, isUnreachable } from './exits.ts'
import { checkFiles, exitOf, formatReport } from './files.ts'
import { readInstalled } from './installed.ts'
import { type Format, formatChecks, printable } from './print.ts'
import { addValidate } from './validate.ts'

interface GlobalFlags extends ClusterOptions {
  namespace?: string
  allNamespaces?: boolean
  meshNamespace: string
  verbose?: boolean
}

interface CheckFlags {
  filename?: string[]
  cluster?: boolean
  output: Format
  failOn: 'warn' | 'error'
  wait: number
}

/** As a plugin kubectl runs `kubectl-weft`; help must then say what people type. */
const name = basename(process.argv[1] ?? '').startsWith('kubectl-') ? 'kubectl weft' : 'weft'

const program = new Command(name)
  .description('Looks after a Weft service mesh.')
  .option('--kubeconfig <file>', 'kubeconfig to use')
  .option('--context <name>', 'context of the kubeconfig')
  .option('-n, --namespace <name>', 'namespace to look at')
  .option('-A, --all-namespaces', 'look at all namespaces')
  .option('--mesh-namespace <name>', "the mesh's own namespace", defaultSettings.namespace)
  .option('--as <user>', 'user to impersonate')
  .option('--as-group <group>', 'group to impersonate')
  .option('--verbose', 'print what led to an error')
  .exitOverride()

program
  .command('check')
  .description('check the mesh, or manifests before they are applied')
  .option('-f, --filename <file...>', 'manifests to check, - for standard input; without it the cluster is checked')
  .option('--cluster', 'with -f: judge the manifests together with what the cluster has')
  .addOption(new Option('-o, --output <format>', 'how to print').choices(['table', 'json', 'short']).default('table'))
  .addOption(
    new Option('--fail-on <severity>', 'least severity to fail on').choices(['warn', 'error']).default('error'),
  )
  .option('--wait <duration>', 'how long to wait until the mesh is well', readDuration, 0)
  .action(async (flags: CheckFlags) => {
    process.exitCode = flags.filename === undefined ? await runCluster(flags) : await runFiles(flags, flags.filename)
  })

addValidate(program, () => globals().namespace, print)

const ca = program.command('ca').description("look after the mesh's root certificate")

ca.command('status')
  .description('show which root signs, and where a rotation stands')
  .addOption(new Option('-o, --output <format>', 'how to print').choices(['table', 'json']).default('table'))
  .action(async ({ output }: { output: 'table' | 'json' }) => {
    const { caStatus, formatStatus } = await import('./ca.ts')
    await withApi(async (api) => print(formatStatus(await caStatus(api, globals().meshNamespace), output)))
  })

ca.command('rotate')
  .description("let a new root follow the mesh's own one, without a failed request")
  .action(async () => {
    const { caRotate } = await import('./ca.ts')
    await withApi((api) => caRotate(api, globals().meshNamespace))
    print(`A new root is on its way; follow it with: ${name} ca status\n`)
  })

program
  .command('version')
  .description('print versions')
  .option('--client', 'of this tool alone')
  .option('--short', 'the bare versions')
  .action(async (flags: { client?: boolean; short?: boolean }) => {
    const own = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string }
    print(flags.short ? `${own.version}\n` : `Client: ${own.version}\n`)
    if (flags.client) return
    const { openConfigured } = await import('./cluster.ts')
    const { api } = openConfigured(globals())
    try {
      const { controller, agents } = await readInstalled(api, globals().meshNamespace)
      for (const [title, part] of Object.entries({ Controller: controller, Agents: agents })) {
        const image = printable(part?.image ?? 'not installed')
        print(flags.short ? `${image}\n` : `${title}: ${image}\n`)
      }
    } finally {
      await api.close()
    }
  })

program
  .command('completion')
  .description('print a completion script for a shell')
  .argument('<shell>', shells.join(', '), (text: string) => {
    const shell = shells.find((each) => each === text)
    if (shell === undefined) throw new InvalidArgumentError(`It must be one of ${shells.join(', ')}.`)
    return shell
  })
  .action((shell: (typeof shells)[number]) => print(completionOf(program, shell)))

function globals(): GlobalFlags {
  return program.opts<GlobalFlags>()
}

async function withApi(run: (api: Api) => Promise<void>): Promise<void> {
  const { openConfigured } = await import('./cluster.ts')
  const { api } = openConfigured(globals())
  try {
    await run(api)
  } finally {
    await api.close()
  }
}

function print(text: string): void {
  process.stdout.write(text)
}

function readDuration(text: string): number {
  try {
    return text === '0' ? 0 : duration(text)
  } catch (error) {
    if (error instanceof OptionError) throw new InvalidArgumentError(error.message)
    throw error
  }
}

async function runCluster({ output, failOn, wait }: CheckFlags): Promise<number> {
  const { namespace, allNamespaces, meshNamespace } = globals()
  const { openConfigured } = await import('./cluster.ts')
  const { checkCluster } = await import('./check.ts')
  const { api } = openConfigured(globals())
  try {
    const wanted = allNamespaces ? null : (namespace ?? null)
    const { checks, exitCode } = await checkCluster(api, meshNamespace, wanted, failOn, wait)
    print(formatChecks(checks, output))
    return exitCode
  } finally {
    await api.close()
  }
}

async function runFiles({ cluster, output, failOn }: CheckFlags, files: string[]): Promise<number> {
  const { namespace, meshNamespace } = globals()
  if (!cluster) {
    const settings = { ...defaultSettings, namespace: meshNamespace }
    const report = await checkFiles({
      files,
      isRecursive: false,
      namespace: namespace ?? 'default',
      settings,
      cluster: null,
    })
    print(formatReport(report, output))
    return exitOf(report, failOn)
  }
  const { openConfigured, readInventory } = await import('./cluster.ts')
  const opened = openConfigured(globals())
  try {
    const [{ settings }, { world }] = await Promise.all([
      readInstalled(opened.api, meshNamespace),
      readInventory(opened.api),
    ])
    const report = await checkFiles({
      files,
      isRecursive: false,
      namespace: namespace ?? opened.namespace,
      settings,
      cluster: world,
    })
    print(formatReport(report, output))
    return exitOf(report, failOn)
  } finally {
    await opened.api.close()
  }
}

process.once('SIGINT', () => process.exit(exits.interrupted))

try {
  await program.parseAsync()
} catch (error) {
  if (error instanceof CommanderError) {
    // Commander has printed it; help and version that were asked for are no failure.
    process.exitCode = error.exitCode === 0 ? exits.ok : exits.usage
  } else {
    const isKnown = error instanceof Exit || isUnreachable(error)
    process.stderr.write(`${name}: ${printable(messageOf(error))}\n`)
    if (globals().verbose && error instanceof Error) process.stderr.write(`${error.stack}\n`)
    process.exitCode = error instanceof Exit ? error.exitCode : isKnown ? exits.unavailable : exits.failed
  }
}
