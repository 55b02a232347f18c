// What the controller throws on purpose. Everything else that is thrown is a bug and is logged with its stack.

/** A flag or environment variable that can't be used: printed as one line, exit code 1. */
export class ConfigError extends Error {
  override name = 'ConfigError'
  readonly code = 'WEFT_CONFIG'
}

/** The API server refused a request, or could not be reached (status 0). */
export class ApiError extends Error {
  override name = 'ApiError'
  readonly code = 'WEFT_API'
  /** HTTP status; 0 if there was no answer. */
  readonly status: number
  /** Reason of the Status object, e.g. `Conflict`, `AlreadyExists`, `Expired`; empty if there is none. */
  readonly reason: string
  /** Seconds that the server asked to wait; 0: none. */
  readonly retryAfter: number

  constructor(message: string, options: { status: number; reason?: string; retryAfter?: number; cause?: unknown }) {
    super(message, options.cause === undefined ? {} : { cause: options.cause })
    this.status = options.status
    this.reason = options.reason ?? ''
    this.retryAfter = options.retryAfter ?? 0
  }
}

/** True for an ApiError with this HTTP status. */
export function hasStatus(thrown: unknown, status: number): boolean {
  return thrown instanceof ApiError && thrown.status === status
}

/** The message of whatever was thrown, with that of its cause, for log fields. */
export function messageOf(thrown: unknown): string {
  if (!(thrown instanceof Error)) return String(thrown)
  const cause = thrown.cause === undefined ? '' : `: ${messageOf(thrown.cause)}`
  return `${thrown.message}${cause}`
}
