// The validating webhook's judgement, as a pure function: an AdmissionReview in, its answer out. It refuses what the object
// alone proves wrong, and warns of what is in force but hardly as meant. What other objects there are is not asked: they
// may come a moment later, and the controller tells by Events and status what is missing.

import type { KubeObject } from '../observe/objects.ts'
import type { Problem } from '../resolve/problem.ts'
import type { Settings } from '../resolve/settings.ts'
import { type Fields, isFields } from '../resolve/shape.ts'
import { validate } from '../validate/validate.ts'

/** `admission.k8s.io/v1`, the answer's half. */
export interface ReviewAnswer {
  apiVersion: 'admission.k8s.io/v1'
  kind: 'AdmissionReview'
  response: {
    uid: string
    allowed: boolean
    warnings?: string[]
    status?: { code: number; reason: string; message: string; details: { causes: Cause[] } }
  }
}

interface Cause {
  reason: string
  field: string
  message: string
}

/** The request can't be judged; whoever sent it is no API server. */
export class ReviewError extends Error {
  override name = 'ReviewError'
}

/** What the API server asks, as far as it is looked at. */
interface ReviewRequest {
  uid: string
  namespace: string
  operation: string
  object: KubeObject | null
  oldObject: KubeObject | null
}

/** A warning that is longer is cut by API servers and by kubectl. */
const maxWarning = 256
/** API servers drop what goes beyond 4 KiB in all. */
const maxWarnings = 12

/**
 * Judges what an API server asks about.
 * @param body the parsed AdmissionReview
 * @throws ReviewError if it is none
 */
export function review(body: unknown, settings: Settings): ReviewAnswer {
  const request = readRequest(body)
  const { uid, object } = request
  const answer = (response: Omit<ReviewAnswer['response'], 'uid'>): ReviewAnswer => ({
    apiVersion: 'admission.k8s.io/v1',
    kind: 'AdmissionReview',
    response: { uid, ...response },
  })
  if (object === null || object.metadata.deletionTimestamp !== undefined) return answer({ allowed: true })
  const problems = validate([object], settings, null)
  const known = knownBefore(request, settings)
  const isNew = (problem: Problem) => problem.severity === 'error' && !known.has(identityOf(problem))
  const refused = problems.filter(isNew)
  const warned = problems.filter((problem) => !isNew(problem))
  return answer({
    allowed: refused.length === 0,
    ...(warned.length === 0 ? {} : { warnings: warned.slice(0, maxWarnings).map(({ message }) => shorten(message)) }),
    ...(refused.length === 0 ? {} : { status: refusal(refused) }),
  })
}

/**
 * What was wrong with the object already: an update that makes nothing worse goes through, or nobody could add a label, or
 * take away a finalizer, before everything is mended.
 */
function knownBefore({ operation, oldObject }: ReviewRequest, settings: Settings): ReadonlySet<string> {
  if (operation !== 'UPDATE' || oldObject === null) return new Set()
  return new Set(validate([oldObject], settings, null).map(identityOf))
}

/** Without the field: an entry that moved within its list is the same. */
function identityOf({ reason, field, message }: Problem): string {
  return `${reason}${message.slice(field.length)}`
}

function refusal(problems: readonly Problem[]): NonNullable<ReviewAnswer['response']['status']> {
  return {
    code: 422,
    reason: 'Invalid',
    message: problems.map(({ message }) => message).join('; '),
    details: { causes: problems.map(({ reason, field, message }) => ({ reason, field, message })) },
  }
}

function shorten(text: string): string {
  return text.length <= maxWarning ? text : `${text.slice(0, maxWarning - 1)}…`
}

function readRequest(body: unknown): ReviewRequest {
  if (!isFields(body) || body['kind'] !== 'AdmissionReview' || body['apiVersion'] !== 'admission.k8s.io/v1') {
    throw new ReviewError('the body must be an AdmissionReview of admission.k8s.io/v1')
  }
  const { request } = body
  if (!isFields(request) || typeof request['uid'] !== 'string') throw new ReviewError('request.uid must be a string')
  const namespace = typeof request['namespace'] === 'string' ? request['namespace'] : ''
  return {
    uid: request['uid'],
    namespace,
    operation: String(request['operation']),
    object: readObject(request['object'], namespace, 'request.object'),
    oldObject: readObject(request['oldObject'], namespace, 'request.oldObject'),
  }
}

function readObject(value: unknown, namespace: string, field: string): KubeObject | null {
  if (value === null || value === undefined) return null
  if (!isFields(value) || typeof value['apiVersion'] !== 'string' || typeof value['kind'] !== 'string') {
    throw new ReviewError(`${field} must have apiVersion and kind`)
  }
  const metadata = isFields(value['metadata']) ? value['metadata'] : {}
  return { ...value, apiVersion: value['apiVersion'], kind: value['kind'], metadata: complete(metadata, namespace) }
}

/** An object that is created may have no name of its own yet, only the beginning of one. */
function complete(metadata: Fields, namespace: string): KubeObject['metadata'] {
  const name = String(metadata['name'] ?? metadata['generateName'] ?? '')
  return { uid: '', resourceVersion: '', namespace, ...metadata, name }
}
