// kube-proxy, or what stands in for it: whether agents see the callers' own addresses, by which they know them.

import { parse } from 'yaml'
import { isFields } from '../../resolve/shape.ts'
import { type Check, check } from './check.ts'

const category = 'network'

/** What is to be found in kube-system of what carries Services. */
export interface ProxyFacts {
  /** KubeProxyConfiguration as the ConfigMap kube-proxy has it; null if there is none. */
  config: string | null
  /** Flags of the DaemonSet kube-proxy; null if there is none. */
  flags: readonly string[] | null
  /** Data of the ConfigMap cilium-config; null if there is none. */
  cilium: Readonly<Record<string, string>> | null
}

/** Checks what hides source addresses, or does not know internalTrafficPolicy. */
export function checkProxy({ config, flags, cilium }: ProxyFacts): Check[] {
  const text = 'connections to Services keep their source address'
  if (config === null && flags === null) {
    const isReplaced = cilium?.['kube-proxy-replacement'] !== undefined && cilium['kube-proxy-replacement'] !== 'false'
    if (isReplaced) return [check(category, text, '')]
    // Many clusters carry Services in another way: that is no fault, only more than can be seen from here.
    return [check(category, `${text}: not seen, since kube-proxy is not in kube-system`, '')]
  }
  return [
    check(
      category,
      text,
      faultOf(config, flags ?? []),
      'callers are told apart by their addresses; change this in kube-proxy',
    ),
  ]
}

function faultOf(config: string | null, flags: readonly string[]): string {
  const parsed = parseConfig(config)
  const flag = (name: string) => flags.find((each) => each.startsWith(`--${name}`))?.replace(/^[^=]*=?/, '')
  const mode = flag('proxy-mode') ?? String(parsed['mode'] ?? '')
  if (mode === 'userspace') return 'kube-proxy runs in mode userspace, where all connections come from the node'
  const isFlagged = flag('masquerade-all')
  if (isFlagged !== undefined && isFlagged !== 'false') return 'kube-proxy runs with --masquerade-all'
  for (const part of ['iptables', 'ipvs', 'nftables']) {
    const section = parsed[part]
    const isUsed = mode === '' ? part === 'iptables' : mode === part || (mode === 'ipvs' && part === 'iptables')
    if (isUsed && isFields(section) && section['masqueradeAll'] === true) return `kube-proxy has ${part}.masqueradeAll`
  }
  return ''
}

function parseConfig(config: string | null): Record<string, unknown> {
  try {
    const value: unknown = parse(config ?? '')
    return isFields(value) ? value : {}
  } catch {
    return {}
  }
}
