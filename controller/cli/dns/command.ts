// `weft dns`: names under the mesh domain, by one block in CoreDNS's configuration. Shows what it would write before it
// does, and never restarts CoreDNS.

import { Option } from 'commander'
import type { OpenedCluster } from '../cluster.ts'
import { type Context, waitOption } from '../context.ts'
import { exits } from '../exits.ts'
import { printable } from '../print.ts'
import { nodeLocalAdvice, ownerAdvice } from './advice.ts'
import { type Change, type DnsState, planInstall, planRemove, readDns, titleOf } from './block.ts'
import { isReloading } from './corefile.ts'
import { askThrough, type Verdict, verify } from './verify.ts'

interface ChangeFlags {
  dryRun?: boolean
  yes?: boolean
}

interface InstallFlags extends ChangeFlags {
  wait: number
}

const about = `
Clients reach a Service of the mesh by its alias (reviews-mesh.shop) without any of this. With one block in CoreDNS's
configuration they may also use the mesh domain (reviews.shop.mesh.internal), which the agents answer.
`

/** Adds the commands. */
export function addDns(context: Context): void {
  const dns = context.program
    .command('dns')
    .description('names under the mesh domain, by a block in CoreDNS')
    .addHelpText('after', about)
  const { name } = context

  dns
    .command('install')
    .description("put the block into CoreDNS's ConfigMap, or say what to do where it is not ours to change")
    .option('--dry-run', 'only show the change')
    .option('-y, --yes', 'do not ask at a terminal')
    .addOption(waitOption('how long to wait until a name resolves; 0: do not ask', '3m'))
    .addHelpText(
      'after',
      `
The block goes into ConfigMap coredns-custom where there is one, else into CoreDNS's own. Where an add-on manager owns that
one, nothing is written and the way of that manager is printed. CoreDNS reads the change by itself.

Examples:
  ${name} dns install --dry-run
  ${name} dns install
`,
    )
    .action((flags: InstallFlags) => context.withCluster((cluster) => install(context, cluster, flags)))

  dns
    .command('status')
    .description('show whether the block is in place and names resolve')
    .addOption(new Option('-o, --output <format>', 'how to print').choices(['text', 'json']).default('text'))
    .action(({ output }: { output: 'text' | 'json' }) =>
      context.withCluster((cluster) => status(context, cluster, output)),
    )

  dns
    .command('remove')
    .description('take the block out; everything else stays byte for byte')
    .option('--dry-run', 'only show the change')
    .option('-y, --yes', 'do not ask at a terminal')
    .action((flags: ChangeFlags) =>
      context.withCluster(async ({ api }) => {
        const { meshNamespace } = context.globals()
        const state = await readDns(api, meshNamespace)
        await show(
          context,
          planRemove(api, meshNamespace, state),
          flags,
          `there is no block in ${titleOf(state.place)}`,
        )
      }),
    )
}

async function install(context: Context, cluster: OpenedCluster, flags: InstallFlags): Promise<void> {
  const { meshNamespace } = context.globals()
  const { api } = cluster
  const state = await readDns(api, meshNamespace)
  const { domain, address, place } = state
  const advice = address === '' || state.block === 'present' ? null : ownerAdvice(place, domain, address)
  if (advice !== null) {
    context.print(advice)
    context.end(exits.failed)
    return
  }
  const change = planInstall(api, meshNamespace, state)
  await show(context, change, flags, `the block for ${domain} is in ${titleOf(place)} already`)
  const nodeLocal = nodeLocalAdvice(place, domain, address)
  if (nodeLocal !== null) context.print(`\n${nodeLocal}`)
  if (!isReloading(place.corefile)) {
    context.tell('‼ the Corefile has no reload plugin: CoreDNS reads the change when you restart it')
  }
  if (flags.dryRun || flags.wait === 0) return
  context.tell(`waiting until CoreDNS answers for ${domain} …`)
  tellVerdict(context, await verify(api, askThrough(cluster), state, flags.wait), domain)
}

async function show(context: Context, change: Change, flags: ChangeFlags, nothing: string): Promise<void> {
  const { dryRun: isDry = false, yes = false } = flags
  if (change.diff === '') context.tell(`√ ${nothing}`)
  // What another has put into the cluster stands in the lines around the change.
  else context.print(change.diff.split('\n').map(printable).join('\n'))
  if (isDry) return
  if (change.diff !== '') await context.confirm('Write this?', yes)
  await change.make()
  if (change.diff !== '') context.tell('√ written')
}

function tellVerdict(context: Context, { result, text }: Verdict, domain: string): void {
  if (result === 'resolves') context.tell(`√ ${text}`)
  else if (result === 'unknown') {
    context.tell(`‼ ${printable(text)}; try from a pod: nslookup -type=soa ${domain}`)
  } else {
    context.tell(
      `× ${printable(text)}; see the log of CoreDNS, and whether ${context.name} check finds the agents ready`,
    )
    context.end(exits.failed)
  }
}

async function status(context: Context, cluster: OpenedCluster, output: 'text' | 'json'): Promise<void> {
  const { meshNamespace } = context.globals()
  const state = await readDns(cluster.api, meshNamespace)
  const verdict = await verify(cluster.api, askThrough(cluster), state, 0)
  const nodeLocal = nodeLocalAdvice(state.place, state.domain, state.address)
  if (output === 'json') {
    const { domain, address, block, place } = state
    const { namespace, name, key, owner } = place
    const shown = {
      domain,
      address,
      block,
      place: { namespace, name, key, owner },
      names: verdict,
      nodeLocal: nodeLocal === null,
    }
    context.print(`${JSON.stringify(shown, null, 2)}\n`)
  } else {
    context.print(`${statusLines(state, verdict, meshNamespace, context.name).map(printable).join('\n')}\n`)
    if (nodeLocal !== null) context.print(`\n${nodeLocal}`)
  }
  if (verdict.result === 'resolves') return
  if (state.block !== 'present') context.end(exits.failed)
}

const meanings: Record<DnsState['block'], (name: string) => string> = {
  present: () => 'in place',
  missing: (name) => `missing; put it in with: ${name} dns install`,
  overwritten: (name) => `was put in and is gone; put it in again with: ${name} dns install`,
  stale: (name) => `for another domain or address; correct it with: ${name} dns install`,
}

function statusLines({ domain, address, block, place }: DnsState, verdict: Verdict, namespace: string, name: string) {
  return [
    `Domain    ${domain}`,
    `Agents    Service ${namespace}/weft-dns, ${address || 'not found; is the mesh installed?'}`,
    `Block     ${titleOf(place)}: ${meanings[block](name)}`,
    `Names     ${verdict.text}`,
  ]
}
