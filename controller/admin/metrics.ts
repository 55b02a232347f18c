// What the controller measures, for Prometheus. Labels come from closed sets only; most values are read when asked for.

import { Counter, Gauge, Histogram, Registry } from 'prom-client'
import type { RunningAdmission } from '../admission/start.ts'
import type { RunningAuthority } from '../authority/start.ts'
import type { Clock } from '../clock.ts'
import type { Election } from '../observe/lease.ts'
import type { Observer } from '../observe/observer.ts'
import type { Pipeline } from '../pipeline.ts'
import type { Transmitter } from '../transmit/transmitter.ts'
import type { Updater } from '../update/updater.ts'
import { authorityMetrics } from './authority.ts'
import { transmitMetrics } from './transmit.ts'

/** The parts that metrics are read from; null until the part has started. */
export interface Parts {
  clock: Clock
  observer: Observer | null
  pipeline: Pipeline | null
  transmitter: Transmitter | null
  updater: Updater | null
  election: Election | null
  authority: RunningAuthority | null
  admission: RunningAdmission | null
}

export interface Metrics {
  measured(stage: string, ms: number): void
  text(): Promise<string>
  readonly contentType: string
}

/** Makes the metrics of a controller. */
export function openMetrics(parts: Parts): Metrics {
  const registry = new Registry()
  const registers = [registry]
  const durations = new Histogram({
    name: 'weft_controller_pass_seconds',
    help: 'Duration of the stages of a pass from the observed objects to the agents',
    labelNames: ['stage'],
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5],
    registers,
  })

  function gauge(name: string, help: string, labelNames: string[], read: (set: Gauge) => void): void {
    new Gauge({
      name,
      help,
      labelNames,
      registers,
      collect() {
        this.reset()
        read(this)
      },
    })
  }

  function counter(name: string, help: string, labelNames: string[], read: (set: Counter) => void): void {
    new Counter({
      name,
      help,
      labelNames,
      registers,
      collect() {
        this.reset()
        read(this)
      },
    })
  }

  counter('weft_controller_passes_total', 'Passes from the observed objects to the agents', ['result'], (set) => {
    set.inc({ result: 'done' }, parts.pipeline?.passes ?? 0)
    set.inc({ result: 'failed' }, parts.pipeline?.failures ?? 0)
  })
  gauge(
    'weft_controller_reflector_silence_seconds',
    'Time since the API server was last heard on a kind',
    ['kind'],
    (set) => {
      for (const { reflector } of parts.observer?.reflectors() ?? []) {
        set.set({ kind: reflector.kind }, (parts.clock.now() - reflector.liveAt) / 1000)
      }
    },
  )
  gauge('weft_controller_reflector_objects', 'Objects held of a kind', ['kind'], (set) => {
    for (const { reflector, objects } of parts.observer?.reflectors() ?? []) set.set({ kind: reflector.kind }, objects)
  })
  counter('weft_controller_reflector_failures_total', 'Lists and watches that failed', ['kind'], (set) => {
    for (const { reflector } of parts.observer?.reflectors() ?? [])
      set.inc({ kind: reflector.kind }, reflector.failures)
  })
  counter('weft_controller_reflector_rejected_total', 'Objects of a kind that could not be read', ['kind'], (set) => {
    for (const { reflector } of parts.observer?.reflectors() ?? [])
      set.inc({ kind: reflector.kind }, reflector.rejected)
  })
  counter('weft_controller_reflector_lists_total', 'Complete lists of a kind', ['kind'], (set) => {
    for (const { reflector } of parts.observer?.reflectors() ?? []) set.inc({ kind: reflector.kind }, reflector.lists)
  })
  transmitMetrics(gauge, counter, () => parts.transmitter)
  gauge(
    'weft_controller_isolated_objects',
    'Objects that make a pass fail and are left as they were',
    ['kind'],
    (set) => {
      for (const { kind } of parts.pipeline?.isolated ?? []) set.inc({ kind })
    },
  )
  gauge('weft_controller_problems', 'Problems of observed objects', ['reason'], (set) => {
    for (const { reason } of parts.pipeline?.last?.translation.problems ?? []) set.inc({ reason })
  })
  gauge('weft_controller_services', 'Services in the mesh', [], (set) => {
    set.set(parts.pipeline?.last?.topology.services.filter(({ isEnrolled }) => isEnrolled).length ?? 0)
  })
  counter('weft_controller_writes_total', 'Writes that the API server accepted', ['verb', 'kind'], (set) => {
    for (const [key, number] of parts.updater?.writes ?? []) {
      const [verb = '', kind = ''] = key.split(' ')
      set.inc({ verb, kind }, number)
    }
  })
  counter('weft_controller_write_failures_total', 'Writes that failed', [], (set) => {
    set.inc(parts.updater?.failures ?? 0)
  })
  gauge('weft_controller_leader', '1 on the replica that leads', [], (set) => set.set(parts.election?.isLeader ? 1 : 0))
  authorityMetrics(gauge, counter, () => parts.authority)
  counter(
    'weft_controller_reviews_total',
    'Objects that API servers asked about, by what was said',
    ['result'],
    (set) => {
      for (const [result, number] of Object.entries(parts.admission?.counts ?? {})) set.inc({ result }, number)
    },
  )
  gauge('process_resident_memory_bytes', 'Resident memory', [], (set) => set.set(process.memoryUsage.rss()))
  counter('process_cpu_seconds_total', 'CPU time, user and system', [], (set) => {
    const { user, system } = process.cpuUsage()
    set.inc((user + system) / 1e6)
  })

  return {
    measured: (stage, ms) => durations.observe({ stage }, ms / 1000),
    text: () => registry.metrics(),
    contentType: registry.contentType,
  }
}
