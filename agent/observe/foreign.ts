// Data thread: callers that speak TLS or HTTP/2 where HTTP/1.1 is spoken. They are cut off; here it is counted, logged and
// told to the controller, which tells whoever can put it right.

import type { CallerNotice } from '../../controller/contract/messages.ts'
import type { Caller } from '../exchange.ts'
import type { Snapshot } from '../mesh/snapshot.ts'
import type { Counters } from './counters.ts'
import type { NoticePoster } from './notices.ts'
import type { Sparing } from './sparing.ts'

export interface ForeignParts {
  readonly snapshot: () => Snapshot
  readonly counters: Counters
  readonly log: Sparing
  readonly notices: NoticePoster
}

const kinds: Record<'h2' | 'tls', CallerNotice['kind']> = { h2: 'h2-on-shared', tls: 'tls-on-http' }

export class Foreign {
  readonly #parts: ForeignParts

  constructor(parts: ForeignParts) {
    this.#parts = parts
  }

  /**
   * Tells of a connection that was cut off.
   * @param meshPort that it came in by; 0: the entry port
   */
  tell(what: 'h2' | 'tls', { address, workload }: Caller, meshPort: number): void {
    const { snapshot, counters, log, notices } = this.#parts
    const resource = snapshot().ports.get(meshPort)
    const port = resource?.port ?? 0
    const service = resource?.service?.name ?? ''
    const kind = kinds[what]
    const { pod = '', name: podUid = '' } = workload ?? {}
    counters.add('callerErrors')
    log.warn(`${kind} ${address} ${meshPort}`, { address, pod, port, service, kind }, 'a caller speaks no HTTP/1.1')
    if (pod !== '') notices.tell({ kind, pod, podUid, port, service })
  }
}
