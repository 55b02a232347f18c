// What the parts of the API share: the register of kinds, the storage, and what was set at start.

import type { Kinds } from './kinds.ts'
import type { Storage } from './storage.ts'

export interface Backend {
  kinds: Kinds
  storage: Storage
  /** Where ClusterIPs come from, such as 127.96.0.0/16. */
  serviceCidr: string
  /** How many addresses of it were tried so far. */
  addressCursor: number
}
