// `weft validate`: manifests judged by the checks of the controller, without a cluster, so that it fits into a pipeline or
// a pre-commit hook. `check -f` does the same, and with `--cluster` more.

import { InvalidArgumentError, Option } from 'commander'
import { domain, OptionError } from '../options.ts'
import { defaultSettings } from '../resolve/settings.ts'
import type { Context } from './context.ts'
import { exits } from './exits.ts'
import { checkFiles, exitOf, formatReport } from './files.ts'

interface ValidateFlags {
  filename: string[]
  recursive?: boolean
  output: 'text' | 'json'
  failOn: 'warn' | 'error'
  clusterDomain: string
}

const help = `
Judged are TrafficSplits, TrafficTargets, HTTPRouteGroups, TCPRoutes and UDPRoutes of all versions, and the labels and
annotations of Namespaces and Services; other objects are left alone. All files are judged together, as if they were
applied at once. Nothing is said about objects that are in no file: they may be in the cluster.

Exit codes:
  ${exits.ok}   no problems, or none of the severity of --fail-on
  ${exits.usage}  wrong usage
  ${exits.data}  a file can't be read, or is no manifest
  ${exits.problems}  problems found

Examples:
  weft validate -f manifests/
  helm template shop | weft validate -n shop -f - --fail-on warn -o json
`

/** Adds the command. */
export function addValidate({ program, globals, print, end }: Context): void {
  program
    .command('validate')
    .description('check manifests without a cluster')
    .requiredOption('-f, --filename <path...>', 'files and folders to check, - for standard input')
    .option('-R, --recursive', 'folders with the folders in them')
    .addOption(new Option('-o, --output <format>', 'how to print').choices(['text', 'json']).default('text'))
    .addOption(
      new Option('--fail-on <severity>', 'least severity to fail on').choices(['warn', 'error']).default('error'),
    )
    .option('--cluster-domain <domain>', "the cluster's DNS domain", readDomain, defaultSettings.clusterDomain)
    .addHelpText('after', help)
    .action(async ({ filename: files, recursive = false, output, failOn, clusterDomain }: ValidateFlags) => {
      const settings = { ...defaultSettings, clusterDomain }
      const own = globals().namespace ?? 'default'
      const report = await checkFiles({ files, isRecursive: recursive, namespace: own, settings, cluster: null })
      print(formatReport(report, output))
      end(exitOf(report, failOn))
    })
}

function readDomain(text: string): string {
  try {
    return domain(text)
  } catch (error) {
    if (error instanceof OptionError) throw new InvalidArgumentError(error.message)
    throw error
  }
}
