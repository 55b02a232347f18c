// The controller's look at an API server, step by step: what it observes, resolves and says of SMI objects, without the
// process, the agents and the waits around it.

import { pino } from 'pino'
import { systemClock } from '../../controller/clock.ts'
import type { Api } from '../../controller/observe/api.ts'
import { type Observer, startObserver } from '../../controller/observe/observer.ts'
import { openEvents } from '../../controller/update/events.ts'
import { openStatuses } from '../../controller/update/status.ts'
import { until } from './until.ts'
import { type Pass, passOf } from './world.ts'

export interface Judging {
  readonly observer: Observer
  /** Statuses that were written. */
  readonly writes: number
  /** Looks at what is there now, and says what there is to say. @returns also how many statuses could not be written */
  judge(): Promise<Pass & { failures: number }>
  stop(): Promise<void>
}

/** Starts observing, and waits until everything was listed. */
export async function startJudging(api: Api): Promise<Judging> {
  const options = { api, clock: systemClock, log: pino({ level: 'silent' }) }
  const observer = startObserver({ ...options, changed: () => {} })
  let writes = 0
  const statuses = openStatuses({ ...options, served: observer.served, counted: () => writes++ })
  const events = openEvents({ ...options, controller: 'controller-1' })
  const yes = () => true
  await until(() => observer.missing().length === 0, 'the lists')
  return {
    observer,
    get writes() {
      return writes
    },
    async judge() {
      const world = observer.world()
      const pass = passOf(world)
      const failures = await statuses.write({ topology: pass.topology, world }, yes)
      await events.write(pass.translation.problems, yes, yes)
      return { ...pass, failures }
    },
    stop: () => observer.stop(),
  }
}
