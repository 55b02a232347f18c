// Requests whose answer is all there is to them: tokens, and who may do what (everybody everything: there is no RBAC here).

import { acceptBody } from '../accept.ts'
import type { Backend } from '../backend.ts'
import { decode } from '../decode.ts'
import { methodNotAllowed, notFound } from '../errors.ts'
import { modelSchema } from '../models.ts'
import type { AnyObject } from '../object.ts'
import type { Tokens, User } from '../tokens.ts'
import type { Target } from './path.ts'
import type { Outcome } from './verbs.ts'

/** Answers a POST to a kind that is a question. */
export function review(target: Target, body: unknown, user: User, tokens: Tokens): Outcome {
  const question = acceptBody(body, target.kind)
  const answer = (status: unknown): Outcome => ({ code: 201, object: { ...question, status } as AnyObject })
  switch (target.kind.kind) {
    case 'TokenReview':
      return { code: 201, object: tokens.review(question) }
    case 'SelfSubjectReview':
      return answer({ userInfo: user })
    default:
      return answer({ allowed: true, reason: 'the local API allows everything' })
  }
}

/** Answers a POST to a subresource: a token for an account. */
export function act(backend: Backend, target: Target, body: unknown, tokens: Tokens): Outcome {
  const { kind, namespace, name = '', subresource } = target
  if (subresource !== 'token') throw methodNotAllowed()
  const account = backend.storage.get(kind.storage, namespace, name)
  if (account === undefined) throw notFound(kind, name)
  const what = 'TokenRequest in version "v1"'
  const request = decode(body, modelSchema('AuthenticationV1TokenRequest'), { what, kind: 'TokenRequest', unknown: [] })
  return { code: 201, object: tokens.issue(kind, account, request) }
}
