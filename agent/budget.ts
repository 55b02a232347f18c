// File descriptors, counted before the first connection: an agent that runs out of them while it serves fails in ways
// that nobody expects.

import type { AgentConfig } from './config.ts'

/** Link, admin, DNS, log, files, and what Node itself keeps open. */
const reserve = 256
/** With fewer connections for each data thread an agent is of no use. */
const leastConnections = 256

/**
 * Fits the connection limit into the limit of open files: each connection of a caller may need another to an endpoint,
 * and each thread opens every mesh port.
 * @param files soft limit of open files (RLIMIT_NOFILE)
 * @param meshPorts mesh ports in use, as far as is known
 * @returns the connections for each data thread
 * @throws Error if too few would be left
 */
export function fitConnections(config: AgentConfig, files: number, meshPorts: number): number {
  const { dataThreads, limits } = config
  const left = Math.floor((files - reserve) / dataThreads) - meshPorts - 1
  const fitting = Math.min(limits.connections, Math.floor(left / 2))
  if (fitting >= Math.min(leastConnections, limits.connections)) return fitting
  const needed = reserve + dataThreads * (meshPorts + 1 + 2 * leastConnections)
  throw new Error(
    `the limit of open files is ${files}, but ${dataThreads} data threads with ${meshPorts} mesh ports need at least ${needed}; raise it (ulimit -n, LimitNOFILE) or lower --data-threads`,
  )
}

/** The soft limit of open files in the text of /proc/self/limits; Infinity if it is not stated. */
export function openFilesLimit(limits: string): number {
  const found = /^Max open files\s+(\d+|unlimited)/m.exec(limits)?.[1]
  return found === undefined || found === 'unlimited' ? Number.POSITIVE_INFINITY : Number(found)
}
