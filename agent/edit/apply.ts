// What a service's policy changes in messages that pass: put together from headers.ts and path.ts, for outbound/relay.ts.
// A request is edited in place, before it is permitted: the same strings are then permitted, logged and forwarded.

import type { ServicePolicy } from '../../controller/contract/resources.ts'
import type { RequestHead } from '../http1/head.ts'
import type { ResponseHead } from '../http1/status.ts'
import type { Answer } from '../path.ts'
import { headerPlan } from './headers.ts'
import { redirection, rewritePath } from './path.ts'

const phrases: Record<number, string> = {
  301: 'Moved Permanently',
  302: 'Found',
  303: 'See Other',
  307: 'Temporary Redirect',
  308: 'Permanent Redirect',
}

/** The redirect that a request is answered with by the service's policy; null for none. */
export function redirect(policy: ServicePolicy, { path, query }: RequestHead): Answer | null {
  if (policy.redirect === undefined) return null
  const found = redirection(policy, path, query)
  if (found === null) return null
  return { status: found.status, phrase: phrases[found.status] ?? 'Found', lines: `location: ${found.location}\r\n` }
}

/** Rewrites a request's path and edits its headers. */
export function editRequest(policy: ServicePolicy, request: RequestHead): void {
  if (policy.rewrite !== undefined) {
    const path = rewritePath(policy, request.path)
    if (path !== request.path) request.rewrite(path)
  }
  if (policy.headers?.request === undefined) return
  const { cuts, lines } = headerPlan(policy.headers.request)
  request.lines.edit(cuts, lines)
}

/** Edits a response's headers. */
export function editResponse(policy: ServicePolicy, response: ResponseHead): void {
  if (policy.headers?.response === undefined) return
  const { cuts, lines } = headerPlan(policy.headers.response)
  response.lines.edit(cuts, lines)
}
