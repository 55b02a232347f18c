// Who may have a node's snapshot: the agent's pod on that node, and nobody else.

import type { IncomingMessage } from 'node:http'
import type { World } from '../observe/world.ts'
import type { Agent } from './session.ts'

/** What a request says about itself. */
export interface Claim {
  node: string
  pod: string
}

/** An agent, or why it is refused (401, 403) or can't be judged now (503): the message is for its log. */
export type Verdict = { agent: Agent } | { status: 401 | 403 | 503; message: string }

export type Authenticate = (request: IncomingMessage, claim: Claim) => Promise<Verdict>

/**
 * Compares a claim with the observed pods: the named pod must be a live agent pod of the mesh's namespace on the named node.
 * @param agents the mesh's namespace and the labels of the agents' pods in it
 */
export function checkClaim(
  world: World,
  agents: { namespace: string; agentSelector: Record<string, string> },
  claim: Claim,
): Verdict {
  const pod = world.pods.get(`${agents.namespace}/${claim.pod}`)
  const who = `pod ${agents.namespace}/${claim.pod}`
  if (pod === undefined) return { status: 403, message: `${who} is not known here; if it is new, ask again` }
  const labels = pod.metadata.labels ?? {}
  for (const [name, value] of Object.entries(agents.agentSelector)) {
    if (labels[name] !== value) return { status: 403, message: `${who} is no agent: its label ${name} is not ${value}` }
  }
  const { nodeName = '' } = pod.spec
  if (nodeName !== claim.node) {
    return { status: 403, message: `${who} runs on node "${nodeName}", not on "${claim.node}"` }
  }
  const phase = pod.status?.phase ?? 'Unknown'
  if (phase === 'Succeeded' || phase === 'Failed') return { status: 403, message: `${who} has ended (${phase})` }
  return { agent: { node: nodeName, pod: claim.pod, podUid: pod.metadata.uid } }
}
