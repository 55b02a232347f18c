// What the benchmark's API server says of itself: the SMI groups that it serves, and whose a token is.

import type { KubeObject } from './api.ts'

const smi: Record<string, string[]> = {
  'split.smi-spec.io': ['trafficsplits', 'trafficsplits/status'],
  'access.smi-spec.io': ['traffictargets'],
  'specs.smi-spec.io': ['httproutegroups', 'tcproutes', 'udproutes'],
}
const version = 'v1alpha4'

/** The answer to a question about groups and their resources, as text; null: the path asks for something else. */
export function groups(path: string): string | null {
  const names = Object.keys(smi)
  if (path === '/apis') {
    return JSON.stringify({ kind: 'APIGroupList', groups: names.map((name) => ({ name, versions: [{ version }] })) })
  }
  const name = names.find((each) => path === `/apis/${each}/${version}`)
  if (name === undefined) return null
  return JSON.stringify({ kind: 'APIResourceList', resources: smi[name]!.map((each) => ({ name: each })) })
}

/** The token of an agent's pod: nobody but the benchmark is asked. */
export function tokenOf(pod: string): string {
  return `bench.${pod}`
}

/** Answers a TokenReview. */
export function reviewToken(
  review: KubeObject,
  get: (collection: string, namespace: string, name: string) => KubeObject | undefined,
): string {
  const { token, audiences } = review['spec'] as { token: string; audiences: string[] }
  const pod = get('pods', 'weft-system', token.slice('bench.'.length))
  const extra = {
    'authentication.kubernetes.io/pod-name': [pod?.metadata.name],
    'authentication.kubernetes.io/pod-uid': [pod?.metadata.uid],
  }
  const user = { username: 'system:serviceaccount:weft-system:weft-agent', extra }
  const status = pod === undefined ? { authenticated: false } : { authenticated: true, audiences, user }
  return JSON.stringify({ ...review, status })
}
