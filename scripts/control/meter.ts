// A data thread as it is, with a meter around what snapshots cost it: its parent leads it as the agent's control thread would.

import { PerformanceObserver } from 'node:perf_hooks'
import { parentPort, workerData } from 'node:worker_threads'
import { systemClock } from '../../agent/clock.ts'
import type { FromThread, ThreadStart, ToThread } from '../../agent/mesh/thread.ts'
import { startThread } from '../../agent/worker.ts'

/** One step of the way from a snapshot to the next. */
export interface Metered {
  type: 'metered'
  phase: 'prepare' | 'commit'
  version: string
  /** CPU time of this thread, and how long nothing else could run on it. */
  cpuMs: number
  wallMs: number
}

/** A collection of garbage that stopped the thread. */
export interface Collected {
  type: 'collected'
  wallMs: number
}

const port = parentPort!
const post = (message: FromThread | Metered | Collected) => port.postMessage(message)
const thread = startThread(workerData as ThreadStart, post, { clock: systemClock, random: Math.random })

const collections = new PerformanceObserver((list) => {
  for (const { duration } of list.getEntries()) post({ type: 'collected', wallMs: duration })
})
collections.observe({ entryTypes: ['gc'] })

function cpuMs(): number {
  const { user, system } = process.threadCpuUsage()
  return (user + system) / 1000
}

port.on('message', (message: ToThread) => {
  if (message.type !== 'prepare' && message.type !== 'commit') return thread.handle(message)
  const startedAt = performance.now()
  const before = cpuMs()
  thread.handle(message)
  const metered = { cpuMs: cpuMs() - before, wallMs: performance.now() - startedAt }
  post({ type: 'metered', phase: message.type, version: message.version, ...metered })
})
