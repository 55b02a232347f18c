// Data thread: who is refused by access rules. Counted for each pair of accounts with the rule that decided, and logged
// sparingly; a Recorder like others for exchanges, told directly of streams that never become one.

import type { Key } from '../../controller/contract/resources.ts'
import type { Exchange } from '../exchange.ts'
import type { Verdict } from '../inbound/permit.ts'
import type { Counters } from './counters.ts'
import type { Sparing } from './sparing.ts'

/** One refusal. */
export interface Denial {
  /** The caller's account; empty: it has no identity. */
  readonly source: Key
  readonly destination: Key
  readonly verdict: Verdict
  /** The Service it concerns, whose series it counts in; empty if none is known. */
  readonly service: Key
}

export class Denials {
  readonly #counters: Counters
  readonly #log: Sparing

  constructor(counters: Counters, log: Sparing) {
    this.#counters = counters
    this.#log = log
  }

  /** Looks whether an exchange was refused by this agent; what another agent refused counts there. */
  record({ reason, verdict, caller, endpoint, port, request, direction }: Exchange): void {
    if (reason !== 'denied' || verdict === null || verdict.isAllowed) return
    const denial = {
      source: caller.workload?.account ?? '',
      destination: endpoint?.spec.account ?? '',
      verdict,
      service: port?.service.key ?? '',
    }
    this.tell(denial, {
      direction,
      address: caller.address,
      endpoint: endpoint?.key ?? '',
      ...(request === null ? {} : { method: request.method, path: request.path }),
    })
  }

  /** It was told of once already. */
  recordTwice(): void {}

  /**
   * Counts and logs a refusal.
   * @param fields more for the log
   */
  tell({ source, destination, verdict, service }: Denial, fields: Record<string, unknown>): void {
    const { cause, rule } = verdict
    const labels = [source, destination, cause, rule]
    this.#counters.count('denials', service, labels)
    this.#log.warn(`denied ${labels.join(' ')}`, { source, destination, cause, rule, ...fields }, 'access denied')
  }
}
