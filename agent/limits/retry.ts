// Whether a failed attempt is followed by another, and when. Three things must agree: what failed is one of the policy's
// conditions, repeating can do no harm, and the service's budget has room, so that retries never multiply an outage.

import type { ServicePolicy } from '../../controller/contract/resources.ts'
import { type Reason, reasonFacts } from '../errors.ts'

export interface RetrySettings {
  /** Further attempts where the policy says nothing. */
  readonly attempts: number
  /** Share of a service's requests that may be retried within the window, beside ... */
  readonly budgetRatio: number
  /** ... so many a second, in the whole agent. */
  readonly budgetMin: number
  readonly budgetWindowMs: number
  /** The longest pause before the first retry; doubles. */
  readonly backoffMs: number
  readonly backoffMaxMs: number
}

/** How an attempt failed: the mesh's reason, or a status that the endpoint answered with. */
export interface Failure {
  readonly reason: Reason | null
  readonly status: number
  /** A byte of the request may have reached the endpoint. */
  readonly isSent: boolean
}

/** What a policy's list of conditions comes to. */
interface Conditions {
  readonly connect: boolean
  readonly reset: boolean
  readonly timeout: boolean
  readonly statuses: ReadonlySet<number>
  readonly all5xx: boolean
}

/** Methods that may be repeated although the first attempt may have had its effect (RFC 9110 section 9.2.2). */
const idempotent: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE', 'PUT', 'DELETE'])
const gatewayErrors = [502, 503, 504]
const defaultOn = ['connect', 'reset']

const buckets = 10

/** Counts a service's requests and retries over a sliding window. */
export class RetryBudget {
  private readonly requests = new Float64Array(buckets)
  private readonly retries = new Float64Array(buckets)
  private readonly settings: RetrySettings
  /** Number of the current bucket since time began. */
  private current = 0

  /** @param settings with this thread's part of `budgetMin` */
  constructor(settings: RetrySettings) {
    this.settings = settings
  }

  /** Counts a request's first attempt. */
  deposit(now: number): void {
    this.turn(now)
    this.requests[this.current % buckets]!++
  }

  /** Takes a retry, if the budget has one. */
  withdraw(now: number): boolean {
    this.turn(now)
    const { budgetRatio, budgetMin, budgetWindowMs } = this.settings
    const allowed = budgetRatio * sum(this.requests) + (budgetMin * budgetWindowMs) / 1_000
    if (sum(this.retries) + 1 > allowed) return false
    this.retries[this.current % buckets]!++
    return true
  }

  private turn(now: number): void {
    const bucket = Math.floor((now * buckets) / this.settings.budgetWindowMs)
    const steps = Math.min(buckets, bucket - this.current)
    for (let i = 1; i <= steps; i++) {
      this.requests[(bucket - steps + i) % buckets] = 0
      this.retries[(bucket - steps + i) % buckets] = 0
    }
    if (steps > 0) this.current = bucket
  }
}

/** Decides on retries. One for each data thread: the minimum of the budget is divided by the number of threads. */
export class Retries {
  /** Retries that the budget refused. */
  exhausted = 0
  private readonly settings: RetrySettings
  private readonly random: () => number
  private readonly budgets = new Map<string, RetryBudget>()

  /** @param random numbers in [0, 1) */
  constructor(settings: RetrySettings, threads: number, random: () => number) {
    this.settings = { ...settings, budgetMin: settings.budgetMin / threads }
    this.random = random
  }

  /**
   * Counts a request's first attempt.
   * @param service `namespace/name`
   * @param now clock's ms
   */
  count(service: string, now: number): void {
    this.budget(service).deposit(now)
  }

  /**
   * Whether a request could be sent again once a byte of it was: else its body need not be kept.
   * @param method as in the request
   */
  isRepeatable(policy: ServicePolicy, method: string): boolean {
    return idempotent.has(method) && this.attemptsOf(policy) > 0
  }

  /**
   * Whether an answer with this status would be retried if everything else allows it: the response is held back only then.
   */
  isRetriableStatus(policy: ServicePolicy, status: number): boolean {
    return status >= 400 && hasStatus(conditionsOf(policy), status)
  }

  /**
   * Decides about another attempt, and takes it from the budget.
   * @param service `namespace/name`
   * @param attempts made so far, at least 1
   * @param now clock's ms
   * @returns ms to wait before it, or -1: none
   */
  decide(
    policy: ServicePolicy,
    service: string,
    method: string,
    attempts: number,
    failure: Failure,
    now: number,
  ): number {
    if (attempts > this.attemptsOf(policy)) return -1
    if (failure.isSent && !idempotent.has(method)) return -1
    if (!meets(conditionsOf(policy), failure)) return -1
    if (!this.budget(service).withdraw(now)) {
      this.exhausted++
      return -1
    }
    return this.backoff(attempts)
  }

  /** Drops the budgets of services that are gone. */
  keep(has: (service: string) => boolean): void {
    for (const service of this.budgets.keys()) if (!has(service)) this.budgets.delete(service)
  }

  /** Full jitter: anything from nothing to the longest pause, so that retries never come in step. */
  private backoff(attempts: number): number {
    const { backoffMs, backoffMaxMs } = this.settings
    return this.random() * Math.min(backoffMs * 2 ** (attempts - 1), backoffMaxMs)
  }

  private attemptsOf(policy: ServicePolicy): number {
    return policy.retry?.attempts ?? this.settings.attempts
  }

  private budget(service: string): RetryBudget {
    let budget = this.budgets.get(service)
    if (budget === undefined) {
      budget = new RetryBudget(this.settings)
      this.budgets.set(service, budget)
    }
    return budget
  }
}

const conditions = new WeakMap<ServicePolicy, Conditions>()

function conditionsOf(policy: ServicePolicy): Conditions {
  let known = conditions.get(policy)
  if (known === undefined) {
    known = readConditions(policy)
    conditions.set(policy, known)
  }
  return known
}

function readConditions({ retry }: ServicePolicy): Conditions {
  const on = retry?.on ?? defaultOn
  const statuses = new Set(on.filter((name) => /^[45]\d\d$/.test(name)).map(Number))
  if (on.includes('gateway-error')) for (const status of gatewayErrors) statuses.add(status)
  return {
    connect: on.includes('connect'),
    reset: on.includes('reset'),
    // Who sets a time for one try wants another after it.
    timeout: retry?.perTryMs !== undefined,
    statuses,
    all5xx: on.includes('5xx'),
  }
}

function hasStatus({ all5xx, statuses }: Conditions, status: number): boolean {
  return (all5xx && status >= 500 && status <= 599) || statuses.has(status)
}

/** A failure of the mesh's own counts as the status that the caller would get, too. */
function meets(on: Conditions, { reason, status, isSent }: Failure): boolean {
  if (reason === null) return hasStatus(on, status)
  // Nothing was sent: no connection, no handshake, or a peer that is going away. But a refusal is one everywhere.
  if (!isSent) return reasonFacts(reason).retryable && (on.connect || hasStatus(on, 502))
  if (reason === 'upstream_timeout') return on.timeout || hasStatus(on, 504)
  if (reason === 'upstream_reset' || reason === 'upstream_invalid') return on.reset || hasStatus(on, 502)
  return false
}

function sum(counts: Float64Array): number {
  let total = 0
  for (let i = 0; i < counts.length; i++) total += counts[i]!
  return total
}
