// Who asks, and may they have it: from a bearer token to the agent's pod and node, and from there to the accounts that
// the node runs. Stricter than its model, Istio's node authoriser: phases and the trust domain count too.

import { agentAccount, authorityAudience, parseIdentity } from '../contract/identity.ts'
import type { Key } from '../contract/resources.ts'
import type { Api } from '../observe/api.ts'
import type { PodFacts, PodIndex } from './pods.ts'

/** Why a request was refused: for the log alone, the agent only hears `refused`. */
export class Refusal extends Error {
  override name = 'Refusal'
  readonly reason: RefusalReason

  constructor(reason: RefusalReason, detail: string) {
    super(detail)
    this.reason = reason
  }
}

/** All of them: labels of a metric. */
export const refusalReasons = [
  'no_token',
  'token_invalid',
  'wrong_audience',
  'not_a_pod',
  'not_an_agent',
  'unknown_pod',
  'wrong_uid',
  'pod_ended',
  'wrong_node',
  'invalid_identity',
  'wrong_trust_domain',
  'not_on_node',
  'invalid_request',
] as const

export type RefusalReason = (typeof refusalReasons)[number]

/** What the API server says about a token. */
export interface TokenFacts {
  /** `system:serviceaccount:<namespace>:<name>` */
  username: string
  audiences: string[]
  /** Name and UID of the pod that it was projected into; empty if it is bound to none. */
  podName: string
  podUid: string
}

/** @returns null if the token is not valid for the audience; rejects if nobody can say now */
export type TokenReviewer = (token: string, audience: string) => Promise<TokenFacts | null>

interface TokenReview {
  status?: {
    authenticated?: boolean
    audiences?: string[]
    user?: { username?: string; extra?: Record<string, string[]> }
  }
}

/** An agent waits for the answer; when the API server hangs, it should soon hear that nobody can tell. */
const reviewMs = 5_000

/** Asks the API server by a TokenReview. */
export function tokenReviewer(api: Pick<Api, 'request'>): TokenReviewer {
  return async (token, audience) => {
    const review = await api.request<TokenReview>('POST', '/apis/authentication.k8s.io/v1/tokenreviews', {
      body: { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenReview', spec: { token, audiences: [audience] } },
      timeoutMs: reviewMs,
    })
    const { authenticated, audiences = [], user } = review.status ?? {}
    if (authenticated !== true) return null
    const extra = (name: string) => user?.extra?.[`authentication.kubernetes.io/${name}`]?.[0] ?? ''
    return { username: user?.username ?? '', audiences, podName: extra('pod-name'), podUid: extra('pod-uid') }
  }
}

/** The mesh's facts that a review compares with. */
export interface ReviewRules {
  namespace: string
  trustDomain: string
  review: TokenReviewer
  pods: PodIndex
}

/**
 * Finds the agent that a token belongs to.
 * @param authorization the Authorization header
 * @returns its live pod, which is scheduled on a node
 * @throws Refusal; ApiError if the API server can't be asked
 */
export async function reviewAgent(rules: ReviewRules, authorization: string | undefined): Promise<PodFacts> {
  const token = /^Bearer ([\w.~+/=-]{1,16384})$/i.exec(authorization ?? '')?.[1]
  if (token === undefined) throw new Refusal('no_token', 'no bearer token')
  const facts = await rules.review(token, authorityAudience)
  if (facts === null) throw new Refusal('token_invalid', 'the API server does not accept the token')
  // An API server that knows nothing of audiences would accept any of its tokens.
  if (!facts.audiences.includes(authorityAudience))
    throw new Refusal('wrong_audience', `the token is for ${facts.audiences.join(', ') || 'no audience'}`)
  const [, namespace, name] = /^system:serviceaccount:([^:]+):([^:]+)$/.exec(facts.username) ?? []
  if (namespace !== rules.namespace || name !== agentAccount)
    throw new Refusal('not_an_agent', `the token is of ${facts.username}`)
  if (facts.podName === '' || facts.podUid === '') throw new Refusal('not_a_pod', 'the token is bound to no pod')
  const pod = rules.pods.pod(`${namespace}/${facts.podName}`)
  if (pod === null) throw new Refusal('unknown_pod', `there is no pod ${namespace}/${facts.podName}`)
  if (pod.uid !== facts.podUid) throw new Refusal('wrong_uid', `pod ${pod.key} is ${pod.uid}, not ${facts.podUid}`)
  if (!pod.isAgent) throw new Refusal('not_an_agent', `pod ${pod.key} is not an agent`)
  if (!pod.isLive) throw new Refusal('pod_ended', `pod ${pod.key} has ended`)
  if (pod.node === '') throw new Refusal('wrong_node', `pod ${pod.key} is on no node`)
  return pod
}

/**
 * Decides whether an agent may have a certificate for an identity.
 * @returns the identity's account
 * @throws Refusal
 */
export function reviewIdentity(rules: ReviewRules, agent: PodFacts, wanted: string): Key {
  const identity = parseIdentity(wanted)
  if (identity === null) throw new Refusal('invalid_identity', 'the identity is not a SPIFFE ID of a mesh')
  if (identity.trustDomain !== rules.trustDomain)
    throw new Refusal('wrong_trust_domain', `${identity.trustDomain} is not ${rules.trustDomain}`)
  if (!rules.pods.runs(agent.node, identity.account))
    throw new Refusal('not_on_node', `node ${agent.node} runs no live pod of ${identity.account}`)
  return identity.account
}
