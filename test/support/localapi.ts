// A local API and the view of it that the stand-ins have, for tests of single stand-ins.

import { startApi } from '../../scripts/local/api/server.ts'
import type { Cluster } from '../../scripts/local/cluster.ts'
import { clusterOf } from '../../scripts/local/connect.ts'

export interface LocalApi {
  cluster: Cluster
  close(): Promise<void>
}

/** Starts an API on a free port; refused writes of stand-ins end the test. */
export async function startLocalApi(options: { serviceCidr: string }): Promise<LocalApi> {
  const api = await startApi({ port: 0, ...options })
  const cluster = clusterOf(api, (message) => {
    throw new Error(message)
  })
  return { cluster, close: () => api.close() }
}
