// `weft ca`: where the mesh's root stands, and the wish for a new one. The controller does the rest.

import { Option } from 'commander'
import { replaceRoot } from '../authority/keep.ts'
import { RootError } from '../authority/root.ts'
import type { RotationStatus } from '../authority/rotate.ts'
import { readRotation } from '../authority/status.ts'
import { kubeStore } from '../authority/store.ts'
import type { Api } from '../observe/api.ts'
import type { Context } from './context.ts'
import { Exit, exits } from './exits.ts'
import { printable } from './print.ts'

const meanings: Record<RotationStatus['phase'], string> = {
  steady: 'one root, trusted and signing',
  trusting: 'a new root is being trusted everywhere; the old one signs',
  retiring: 'the new root signs; the old one is trusted until nobody needs it',
}

function describe(title: string, { subject, expires, id }: RotationStatus['signing']): string {
  return `${title.padEnd(10)}${printable(subject)}, expires ${expires}, sha256 ${id.slice(0, 16)}`
}

/** The text for a status. */
export function formatStatus(status: RotationStatus, format: 'table' | 'json'): string {
  if (format === 'json') return `${JSON.stringify(status, null, 2)}\n`
  const { phase, since, signing, incoming, waiting, problem } = status
  const lines = [`Phase     ${phase} since ${since}: ${meanings[phase]}`, describe('Signing', signing)]
  if (incoming !== null) lines.push(describe('Incoming', incoming))
  if (waiting.length > 0) lines.push(`Waiting   for ${waiting.length} agents: ${waiting.map(printable).join(', ')}`)
  if (problem !== '') lines.push(`Problem   the wanted root can't be used: ${printable(problem)}`)
  return `${lines.join('\n')}\n`
}

/**
 * Reads where the root stands.
 * @throws Exit if the mesh has no root yet
 */
export async function caStatus(api: Api, namespace: string): Promise<RotationStatus> {
  const status = await readRotation(api, namespace, Date.now())
  if (status === null)
    throw new Exit(exits.problems, `no controller has made a root in namespace ${namespace} yet; see weft check`)
  return status
}

/**
 * Puts a new root in place of the mesh's own one.
 * @throws Exit if the root was given, or somebody else did the same
 */
export async function caRotate(api: Api, namespace: string): Promise<void> {
  const { phase } = await caStatus(api, namespace)
  if (phase !== 'steady')
    throw new Exit(exits.problems, `a rotation is under way (${phase}): it must end first; see weft ca status`)
  try {
    await replaceRoot(kubeStore(api, namespace), Date.now())
  } catch (thrown) {
    if (thrown instanceof RootError) throw new Exit(exits.problems, thrown.message)
    throw thrown
  }
}

/** Adds the commands. */
export function addCa(context: Context): void {
  const ca = context.program.command('ca').description("look after the mesh's root certificate")

  ca.command('status')
    .description('show which root signs, and where a rotation stands')
    .addOption(new Option('-o, --output <format>', 'how to print').choices(['table', 'json']).default('table'))
    .action(({ output }: { output: 'table' | 'json' }) =>
      context.withCluster(async ({ api }) => {
        context.print(formatStatus(await caStatus(api, context.globals().meshNamespace), output))
      }),
    )

  ca.command('rotate')
    .description("let a new root follow the mesh's own one, without a failed request")
    .action(() =>
      context.withCluster(async ({ api }) => {
        await caRotate(api, context.globals().meshNamespace)
        context.print(`A new root is on its way; follow it with: ${context.name} ca status\n`)
      }),
    )
}
