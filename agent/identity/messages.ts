// What the control thread, which makes keys and asks for certificates, and the data threads, which use them, tell each
// other. Private keys travel as KeyObjects, which threads share without a copy in the clear.

import type { KeyObject } from 'node:crypto'
import type { Key } from '../../controller/contract/resources.ts'

/** From the control thread to each data thread, in the order in which it came to be. */
export type IdentityMessage =
  | { type: 'trust'; bundle: string; trustDomain: string }
  | { type: 'certificate'; account: Key; key: KeyObject; chain: string; expires: number }
  | { type: 'forget'; account: Key }

/** From a data thread: a caller of this account has just come, and there is no certificate for it. */
export interface IdentityNeed {
  type: 'need'
  account: Key
}
