// The errors of the API: each is a Status object, as the real API server words it, because kubectl and controllers decide by
// `reason`, `code` and `details.causes`. Thrown anywhere below the HTTP layer, turned into a response there.

/** One thing that is wrong with one field; becomes a cause in the details of a 422. */
export interface FieldError {
  reason:
    | 'FieldValueRequired'
    | 'FieldValueInvalid'
    | 'FieldValueTypeInvalid'
    | 'FieldValueDuplicate'
    | 'FieldValueNotSupported'
    | 'FieldValueForbidden'
    | 'FieldValueTooLong'
    | 'FieldValueNotFound'
  field: string
  message: string
}

export interface Cause {
  reason: string
  message: string
  field?: string
}

export interface Status {
  kind: 'Status'
  apiVersion: 'v1'
  metadata: { continue?: string }
  status: 'Failure' | 'Success'
  message?: string
  reason?: string
  details?: { name?: string; group?: string; kind?: string; uid?: string; causes?: Cause[]; retryAfterSeconds?: number }
  code: number
}

/** What an error is about: the plural of a kind (or the kind itself for 422) and an object's name. */
export interface Subject {
  group: string
  plural: string
  kind: string
}

/** An error with the Status object that the client gets; its HTTP status is `status.code`. */
export class ApiError extends Error {
  override readonly name = 'ApiError'
  readonly status: Status

  constructor(code: number, reason: string, message: string, details?: Status['details']) {
    super(message)
    this.status = { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Failure', message, reason, code }
    if (details !== undefined) this.status.details = details
  }
}

/** `services`, or `trafficsplits.split.smi-spec.io`: how messages name a kind of objects. */
export function qualified(subject: Subject): string {
  return subject.group === '' ? subject.plural : `${subject.plural}.${subject.group}`
}

function details(subject: Subject, name: string): NonNullable<Status['details']> {
  const about: NonNullable<Status['details']> = { name }
  if (subject.group !== '') about.group = subject.group
  about.kind = subject.plural
  return about
}

export function badRequest(message: string): ApiError {
  return new ApiError(400, 'BadRequest', message)
}

export function unauthorized(): ApiError {
  return new ApiError(401, 'Unauthorized', 'Unauthorized')
}

export function notFound(subject: Subject, name: string): ApiError {
  return new ApiError(404, 'NotFound', `${qualified(subject)} "${name}" not found`, details(subject, name))
}

/** The path itself is unknown: no such group, version or kind. */
export function noSuchPath(): ApiError {
  return new ApiError(404, 'NotFound', 'the server could not find the requested resource', {})
}

export function methodNotAllowed(
  message = 'the server does not allow this method on the requested resource',
): ApiError {
  return new ApiError(405, 'MethodNotAllowed', message, {})
}

export function notAcceptable(accepted: string): ApiError {
  return new ApiError(406, 'NotAcceptable', `only the following media types are accepted: ${accepted}`)
}

export function unsupportedMediaType(accepted: string): ApiError {
  const message = `the body of the request was in an unknown format - accepted media types include: ${accepted}`
  return new ApiError(415, 'UnsupportedMediaType', message)
}

export function alreadyExists(subject: Subject, name: string): ApiError {
  return new ApiError(409, 'AlreadyExists', `${qualified(subject)} "${name}" already exists`, details(subject, name))
}

export function conflict(subject: Subject, name: string, why: string, causes?: Cause[]): ApiError {
  const message = `Operation cannot be fulfilled on ${qualified(subject)} "${name}": ${why}`
  const about = details(subject, name)
  if (causes !== undefined) about.causes = causes
  return new ApiError(409, 'Conflict', message, about)
}

/** The object has changed since the client read it: somebody else's write came first. */
export function modified(subject: Subject, name: string): ApiError {
  const why = 'the object has been modified; please apply your changes to the latest version and try again'
  return conflict(subject, name, why)
}

export function forbidden(subject: Subject, name: string, why: string, causes?: Cause[]): ApiError {
  const about = details(subject, name)
  if (causes !== undefined) about.causes = causes
  return new ApiError(403, 'Forbidden', `${qualified(subject)} "${name}" is forbidden: ${why}`, about)
}

/** The version that a client wants to continue from is gone: it has to list again. */
export function expired(message: string, continueToken?: string): ApiError {
  const error = new ApiError(410, 'Expired', message)
  if (continueToken !== undefined) error.status.metadata.continue = continueToken
  return error
}

/** 422 with one cause for each broken field. */
export function invalid(subject: Subject, name: string, errors: readonly FieldError[]): ApiError {
  const causes = errors.map(({ reason, message, field }) => ({ reason, message, field }))
  const texts = errors.map(({ field, message }) => `${field}: ${message}`)
  const text = texts.length === 1 ? texts[0] : `[${texts.join(', ')}]`
  const kind = subject.group === '' ? subject.kind : `${subject.kind}.${subject.group}`
  const about: NonNullable<Status['details']> = name === '' ? {} : { name }
  if (subject.group !== '') about.group = subject.group
  about.kind = subject.kind
  about.causes = causes
  return new ApiError(422, 'Invalid', `${kind} "${name}" is invalid: ${text}`, about)
}

// How the real API server words the common field errors.

export function required(field: string, hint = ''): FieldError {
  return { reason: 'FieldValueRequired', field, message: hint === '' ? 'Required value' : `Required value: ${hint}` }
}

export function wrong(field: string, value: unknown, why: string): FieldError {
  return { reason: 'FieldValueInvalid', field, message: `Invalid value: ${JSON.stringify(value)}: ${why}` }
}

export function duplicate(field: string, value: unknown): FieldError {
  return { reason: 'FieldValueDuplicate', field, message: `Duplicate value: ${JSON.stringify(value)}` }
}

export function unsupported(field: string, value: unknown, supported: readonly unknown[]): FieldError {
  const list = supported.map((one) => JSON.stringify(one)).join(', ')
  const message = `Unsupported value: ${JSON.stringify(value)}: supported values: ${list}`
  return { reason: 'FieldValueNotSupported', field, message }
}

export function notAllowed(field: string, why: string): FieldError {
  return { reason: 'FieldValueForbidden', field, message: `Forbidden: ${why}` }
}
