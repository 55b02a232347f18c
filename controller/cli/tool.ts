// The tool as a function: all commands, what they share, and how they end. main.ts runs it in a process.

import { Command, CommanderError } from 'commander'
import { messageOf } from '../errors.ts'
import { defaultSettings } from '../resolve/settings.ts'
import { addCa } from './ca.ts'
import { addCompletion, answerCompletion, completeCommand } from './completion.ts'
import { type Context, collect, contextOf, type GlobalFlags, type Output } from './context.ts'
import { addDns } from './dns/command.ts'
import { Exit, exits, isUnreachable } from './exits.ts'
import { addInstall } from './install/command.ts'
import { addUninstall } from './install/uninstall.ts'
import { asTyped, printable } from './print.ts'
import { addAgents, addCheck, addEndpoints, addVersion } from './show.ts'
import { addValidate } from './validate.ts'

/**
 * Runs one command line.
 * @param calledAs the program's name: `kubectl-…` makes it a plugin, and help must then say what people type
 * @param words what stands behind it
 * @returns the exit code
 */
export async function runTool(calledAs: string, words: readonly string[], output: Output): Promise<number> {
  const context = makeProgram(calledAs.startsWith('kubectl') ? 'kubectl weft' : 'weft', output)
  const { program } = context
  try {
    if (calledAs.startsWith('kubectl_complete-')) context.print(answerCompletion(program, words))
    else if (words[0] === completeCommand) context.print(answerCompletion(program, words.slice(1)))
    else await program.parseAsync(words, { from: 'user' })
    return context.exitCode()
  } catch (error) {
    return report(error, context)
  }
}

/** All commands, those that people begin with first. */
function makeProgram(name: string, output: Output): Context {
  const program = new Command(name)
    .description('Installs and looks after a Weft service mesh.')
    .option('--kubeconfig <file>', 'kubeconfig to use')
    .option('--context <name>', 'context of the kubeconfig')
    .option('-n, --namespace <name>', 'namespace to look at')
    .option('-A, --all-namespaces', 'look at all namespaces')
    .option('--mesh-namespace <name>', "the mesh's own namespace", defaultSettings.namespace)
    .option('--as <user>', 'user to impersonate')
    .option('--as-group <group>', 'group to impersonate (repeatable)', collect)
    .option('--verbose', 'print what led to an error')
    .configureHelp({ showGlobalOptions: true })
    .configureOutput({ writeOut: output.print, writeErr: output.complain })
    .exitOverride()
    .addHelpText(
      'after',
      `
  To begin with:
  ${[
    [`${name} check --pre`, 'could a mesh be installed here?'],
    [`${name} install --image IMAGE --apply`, 'install it'],
    ['kubectl label namespace shop weft.dev/mesh=enabled', 'let the Services of a namespace into it'],
    [`${name} endpoints -n shop`, 'what to write in their clients'],
    [`${name} check`, 'is all well?'],
  ]
    .map(([command = '', about]) => `  ${command.padEnd(52)} ${about}`)
    .join('\n')}
  
  Exit codes: ${exits.ok} well, ${exits.failed} a check or something else failed, ${exits.usage} wrong usage, \
  ${exits.data} a manifest can't be read, ${exits.unavailable} the cluster can't be reached,
  ${exits.problems} problems of the configuration, ${exits.interrupted} interrupted.
  `,
    )

  const context = contextOf(program, output)
  for (const add of [addInstall, addUninstall, addCheck]) add(context)
  for (const add of [addValidate, addEndpoints, addAgents, addDns, addCa, addCompletion, addVersion]) add(context)
  return context
}

/** Says what went wrong, and which exit code that is. */
function report(error: unknown, { name, program, tell }: Context): number {
  // Commander has printed it; help and version that were asked for are no failure.
  if (error instanceof CommanderError) return error.exitCode === 0 ? exits.ok : exits.usage
  tell(`${name}: ${asTyped(messageOf(error), name).split('\n').map(printable).join('\n')}`)
  if (program.opts<GlobalFlags>().verbose && error instanceof Error) tell(String(error.stack))
  if (error instanceof Exit) return error.exitCode
  return isUnreachable(error) ? exits.unavailable : exits.failed
}
