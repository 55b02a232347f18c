// ServiceAccount tokens: issued for an account, an audience and (mostly) a pod, and reviewed strictly: signature, time,
// audience, and that account and pod still are the ones that the token was made for. JWTs in form, signed with a key of
// this process.

import { createHmac, randomBytes, randomUUID, timingSafeEqual } from 'node:crypto'
import type { Backend } from './backend.ts'
import { badRequest, conflict, invalid, notFound, wrong } from './errors.ts'
import type { Kind } from './kinds.ts'
import { type AnyObject, isRecord, type Json, sub, timestamp } from './object.ts'

export interface User {
  username: string
  uid?: string
  groups: string[]
  extra?: Record<string, string[]>
}

interface Claims {
  iss: string
  sub: string
  aud: string[]
  /** Seconds since the epoch, as iat and nbf. */
  exp: number
  iat: number
  nbf: number
  jti: string
  'kubernetes.io': {
    namespace: string
    serviceaccount: { name: string; uid: string }
    pod?: { name: string; uid: string }
    node?: { name: string; uid: string }
  }
}

/** What a TokenRequest may ask for. */
export interface TokenSpec {
  audiences?: string[]
  expirationSeconds?: number
  boundObjectRef?: { kind?: string; apiVersion?: string; name?: string; uid?: string }
}

export interface IssuedToken {
  token: string
  /** RFC 3339. */
  expirationTimestamp: string
}

export interface Tokens {
  /** Answers a TokenRequest for an account. */
  issue(kind: Kind, account: AnyObject, request: unknown): AnyObject
  /** Answers a TokenReview. */
  review(review: AnyObject): AnyObject
  /** The account behind a token that is meant for this API, or undefined. */
  authenticate(token: string): User | undefined
}

const issuer = 'https://kubernetes.default.svc'
const minLifetimeSeconds = 600
const defaultLifetimeSeconds = 3600

/** Issues and reviews tokens; what was issued is worth nothing to another process. */
export function createTokens(backend: Backend, now: () => number = Date.now): Tokens {
  const key = randomBytes(32)
  const sign = (text: string) => createHmac('sha256', key).update(text).digest()

  const encode = (claims: Claims): string => {
    const parts = [{ alg: 'HS256', typ: 'JWT' }, claims].map((part) =>
      Buffer.from(JSON.stringify(part)).toString('base64url'),
    )
    const text = parts.join('.')
    return `${text}.${sign(text).toString('base64url')}`
  }

  /** The claims of a token that this process signed. */
  const open = (token: string): Claims | string => {
    const parts = token.split('.')
    if (parts.length !== 3) return 'the token is malformed'
    const wanted = sign(`${parts[0]}.${parts[1]}`)
    const given = Buffer.from(parts[2]!, 'base64url')
    if (given.length !== wanted.length || !timingSafeEqual(given, wanted)) return 'the token has an invalid signature'
    return JSON.parse(Buffer.from(parts[1]!, 'base64url').toString()) as Claims
  }

  /** The claims of a token that holds now, or why it does not. */
  const verify = (token: string): Claims | string => {
    const claims = open(token)
    if (typeof claims === 'string') return claims
    const seconds = now() / 1000
    if (seconds >= claims.exp) return 'service account token has expired'
    if (seconds < claims.nbf) return 'service account token is not valid yet'
    const { namespace, serviceaccount, pod } = claims['kubernetes.io']
    const account = backend.storage.get('/serviceaccounts', namespace, serviceaccount.name)
    if (account?.metadata.uid !== serviceaccount.uid) return 'service account has been deleted or replaced'
    if (pod === undefined) return claims
    const found = backend.storage.get('/pods', namespace, pod.name)
    return found?.metadata.uid === pod.uid ? claims : 'pod has been deleted or replaced'
  }

  return {
    issue(kind, account, request) {
      const { claims, expiration } = claimsFor(backend, kind, account, request, now())
      const given = isRecord(request) ? request : {}
      return {
        apiVersion: 'authentication.k8s.io/v1',
        kind: 'TokenRequest',
        metadata: { name: account.metadata.name, namespace: account.metadata.namespace!, uid: '', resourceVersion: '' },
        spec: { ...sub(given, 'spec'), audiences: claims.aud, expirationSeconds: expiration },
        status: { token: encode(claims), expirationTimestamp: timestamp(claims.exp * 1000) },
      }
    },
    review(review) {
      const { token, audiences } = sub(review, 'spec') as { token?: string; audiences?: string[] }
      if ((token ?? '') === '') throw badRequest('token is required for TokenReview in authentication')
      const wanted = audiences ?? [issuer]
      const claims = verify(token ?? '')
      const shared = typeof claims === 'string' ? [] : claims.aud.filter((audience) => wanted.includes(audience))
      const why = typeof claims === 'string' ? claims : 'token audiences do not match'
      const status: Json =
        typeof claims !== 'string' && shared.length > 0
          ? { authenticated: true, user: userOf(claims), audiences: shared }
          : { authenticated: false, user: {}, error: `[invalid bearer token, ${why}]` }
      return { ...review, status }
    },
    authenticate(token) {
      const claims = verify(token)
      return typeof claims === 'string' || !claims.aud.includes(issuer) ? undefined : userOf(claims)
    },
  }
}

function claimsFor(backend: Backend, kind: Kind, account: AnyObject, request: unknown, nowMs: number) {
  const spec = sub(request, 'spec') as TokenSpec
  const expiration = spec.expirationSeconds ?? defaultLifetimeSeconds
  const about = { group: 'authentication.k8s.io', plural: 'tokenrequests', kind: 'TokenRequest' }
  if (expiration < minLifetimeSeconds) {
    const why = `may not specify a duration less than ${minLifetimeSeconds / 60} minutes`
    throw invalid(about, '', [wrong('spec.expirationSeconds', expiration, why)])
  }
  const { name, namespace = '', uid } = account.metadata
  const seconds = Math.floor(nowMs / 1000)
  const claims: Claims = {
    iss: issuer,
    sub: `system:serviceaccount:${namespace}:${name}`,
    aud: spec.audiences ?? [issuer],
    exp: seconds + expiration,
    iat: seconds,
    nbf: seconds,
    jti: randomUUID(),
    'kubernetes.io': { namespace, serviceaccount: { name, uid } },
  }
  const bound = spec.boundObjectRef
  if (bound !== undefined) {
    if (bound.kind !== 'Pod') throw badRequest(`the local API binds tokens to pods alone, not to ${bound.kind}`)
    bindToPod(backend, kind, claims, bound, account)
  }
  return { claims, expiration }
}

function bindToPod(
  backend: Backend,
  kind: Kind,
  claims: Claims,
  bound: { name?: string; uid?: string },
  account: AnyObject,
): void {
  const pod = backend.storage.get('/pods', account.metadata.namespace, bound.name ?? '')
  if (pod === undefined) throw notFound({ group: '', plural: 'pods', kind: 'Pod' }, bound.name ?? '')
  const { uid, name } = pod.metadata
  if (bound.uid !== undefined && bound.uid !== uid) {
    throw conflict(
      kind,
      account.metadata.name,
      `the UID in the bound object reference (${bound.uid}) does not match the UID in record (${uid})`,
    )
  }
  const { serviceAccountName, nodeName } = pod['spec'] as { serviceAccountName?: string; nodeName?: string }
  if (serviceAccountName !== account.metadata.name) {
    throw badRequest(
      `cannot bind token for serviceaccount ${JSON.stringify(account.metadata.name)} to pod running with different serviceaccount name.`,
    )
  }
  claims['kubernetes.io'].pod = { name, uid }
  if (nodeName === undefined) return
  const node = backend.storage.get('/nodes', undefined, nodeName)
  claims['kubernetes.io'].node = { name: nodeName, uid: node?.metadata.uid ?? '' }
}

function userOf(claims: Claims): User {
  const { namespace, serviceaccount, pod, node } = claims['kubernetes.io']
  const prefix = 'authentication.kubernetes.io'
  const extra: Record<string, string[]> = { [`${prefix}/credential-id`]: [`JTI=${claims.jti}`] }
  if (node !== undefined) {
    extra[`${prefix}/node-name`] = [node.name]
    extra[`${prefix}/node-uid`] = [node.uid]
  }
  if (pod !== undefined) {
    extra[`${prefix}/pod-name`] = [pod.name]
    extra[`${prefix}/pod-uid`] = [pod.uid]
  }
  return {
    username: claims.sub,
    uid: serviceaccount.uid,
    groups: ['system:serviceaccounts', `system:serviceaccounts:${namespace}`, 'system:authenticated'],
    extra,
  }
}
