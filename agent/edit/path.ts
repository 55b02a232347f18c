// Redirects and path rewrites of a service's policy. Both work on the canonical path; a rewritten one is canonical again,
// so that what is forwarded is what the other side permits.

import type { ServicePolicy } from '../../controller/contract/resources.ts'
import { canonicalPath } from '../http1/target.ts'

const redirects: ReadonlySet<number> = new Set([301, 302, 303, 307, 308])

export interface Redirection {
  readonly status: number
  /** Value of the Location header. */
  readonly location: string
}

/**
 * Whether a request is answered with a redirect, and to where: the prefix is replaced by the location, what follows it is
 * kept.
 * @param path canonical, without the query
 * @param query without its `?`; '' for none
 */
export function redirection(policy: ServicePolicy, path: string, query: string): Redirection | null {
  const { redirect } = policy
  if (redirect === undefined || !isUnder(path, redirect.prefix)) return null
  const { location } = redirect
  if (!/^[\x21-\x7e]+$/.test(location)) return null
  // `/` to `/shop` would otherwise go on for ever.
  if (isUnder(location, redirect.prefix) && isUnder(path, location)) return null
  const target = join(location, path.slice(redirect.prefix.length))
  if (target === path) return null
  return {
    status: redirects.has(redirect.status) ? redirect.status : 302,
    location: query === '' ? target : `${target}?${query}`,
  }
}

/**
 * The path that is forwarded: with the policy's prefix replaced, if the path has it.
 * @param path canonical, without the query
 * @returns canonical; the path itself where the policy doesn't apply or its replacement can't be made canonical
 */
export function rewritePath(policy: ServicePolicy, path: string): string {
  const { rewrite } = policy
  if (rewrite === undefined || !isUnder(path, rewrite.prefix)) return path
  const joined = join(rewrite.replacement, path.slice(rewrite.prefix.length))
  return canonicalPath(joined.startsWith('/') ? joined : `/${joined}`) ?? path
}

/** Whether a path is the prefix or lies below it: `/a` has `/a` and `/a/b` under it, not `/ab`. */
function isUnder(path: string, prefix: string): boolean {
  if (prefix === '' || !path.startsWith(prefix)) return false
  return prefix.endsWith('/') || path.length === prefix.length || path[prefix.length] === '/'
}

/** Puts what follows a prefix behind something else, with one slash between: two would begin an authority. */
function join(before: string, rest: string): string {
  const tail = rest.replace(/^\/+/, '')
  if (tail === '') return rest === '' || before.endsWith('/') ? before : `${before}/`
  return before.endsWith('/') ? before + tail : `${before}/${tail}`
}
