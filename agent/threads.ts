// Control thread: the data threads as a whole. Starts them, replaces one that dies, listens for their heartbeats, passes
// their messages on to whom they concern, and leads them out when the agent drains.

import { Worker } from 'node:worker_threads'
import type { CallerNotice } from '../controller/contract/messages.ts'
import type { Key } from '../controller/contract/resources.ts'
import type { Clock, Timer } from './clock.ts'
import type { AgentConfig } from './config.ts'
import { limitMemory } from './limits/shared.ts'
import type { Keeper, Member } from './mesh/keeper.ts'
import type { Answer, FromThread, Listening, Question, ThreadStart, ToThread } from './mesh/thread.ts'
import type { AccessSink } from './observe/accesslog.ts'
import type { Gatherer } from './observe/gather.ts'
import { type ControlLog, errorFields } from './observe/log.ts'

export interface ThreadsOptions {
  readonly config: AgentConfig
  /** What the threads run. */
  readonly script: URL
  readonly clock: Clock
  readonly log: ControlLog
  readonly keeper: Keeper
  readonly gatherer: Gatherer
  readonly sink: AccessSink
  /** What a thread must hear before its first snapshot. */
  readonly greet: (post: (message: ToThread) => void) => void
  /** A caller of this account waits for a certificate. */
  readonly onNeed: (account: Key) => void
  /** A caller does what its owner should learn of. */
  readonly onNoticed: (notice: CallerNotice) => void
  /** Something that readiness depends on may have changed. */
  readonly onChange: () => void
  /** The threads can't be kept alive: the process must end. */
  readonly onFatal: (reason: string) => void
}

const beatMs = 1000
/** While draining, quiet is looked for more often. */
const drainBeatMs = 200
/** Several beats: a thread busy for so long should get no new callers. */
const staleMs = 5000
/** A thread silent for so long won't come back by itself. */
const deadMs = 30_000
/** A thread that dies once met a bug; one that dies each time takes its callers with it, and better ends the process. */
const deathsMost = 3
const deathsWithinMs = 60_000
const answerMs = 2000

/** One data thread as the control thread sees it. */
interface DataThread extends Member {
  readonly number: number
  readonly worker: Worker
  readonly counters: object
  isStarted: boolean
  /** Clock's ms of its last heartbeat, or of its start. */
  heardAt: number
  accepted: number
  open: number
  listening: Listening | null
  isDrained: boolean
}

export interface ThreadFacts {
  readonly number: number
  readonly isStarted: boolean
  readonly silentMs: number
  readonly open: number
  readonly listening: Listening | null
  /** Time its event loop was not idle, in ms. */
  readonly busyMs: number
}

export class Threads {
  readonly #options: ThreadsOptions
  readonly #limits: SharedArrayBuffer
  readonly #threads = new Map<number, DataThread>()
  /** Questions that wait for answers; told null when a thread has gone. */
  readonly #asked = new Map<number, (thread: DataThread, answer: Answer | null) => void>()
  #questions = 0
  #beats = 0
  #beatTimer: Timer | null = null
  #beatMs = beatMs
  #deaths: number[] = []
  /** Deaths since the start. */
  restarts = 0
  #isLeaving = false
  #onMove: () => void = () => {}

  constructor(options: ThreadsOptions) {
    this.#options = options
    this.#limits = limitMemory(options.config.dataThreads)
  }

  /** Starts all threads; they are told the snapshot in force as they come up. */
  start(): void {
    for (let number = 0; number < this.#options.config.dataThreads; number++) this.#spawn(number)
    this.#beat()
  }

  facts(): ThreadFacts[] {
    const now = this.#options.clock.now()
    return Array.from(this.#threads.values(), ({ number, isStarted, heardAt, open, listening, worker }) => ({
      number,
      isStarted,
      silentMs: now - heardAt,
      open,
      listening,
      busyMs: worker.performance.eventLoopUtilization().active,
    }))
  }

  /** Why no new callers should come, as far as the threads know; null if all is well. */
  blocker(): string | null {
    for (const { number, isStarted, silentMs } of this.facts()) {
      if (!isStarted) return `data thread ${number} is starting`
      if (silentMs > staleMs) return `data thread ${number} has been silent for ${Math.round(silentMs)} ms`
    }
    return null
  }

  /** Ports that are not open, on whichever thread; null if all are. */
  portBlocker(): string | null {
    for (const { number, listening } of this.facts()) {
      if (listening === null) return `data thread ${number} has not opened its ports yet`
      const [first] = listening.failed
      if (first !== undefined) {
        return `data thread ${number}: ${listening.failed.length} failed, port ${first.port}: ${first.message}`
      }
    }
    return null
  }

  /** Why the process should be restarted; null if it need not. */
  ailment(): string | null {
    const dead = this.facts().find(({ silentMs }) => silentMs > deadMs)
    return dead === undefined ? null : `data thread ${dead.number} has been silent for ${Math.round(dead.silentMs)} ms`
  }

  /** Tells all threads. One that is starting hears it too, in its turn: a worker's messages wait for it. */
  broadcast(message: ToThread): void {
    for (const thread of this.#threads.values()) thread.post(message)
  }

  /** Asks all threads; those that don't answer in time, or end, are left out. */
  ask(what: Question): Promise<{ thread: number; value: unknown }[]> {
    const { clock } = this.#options
    const id = ++this.#questions
    const answers: { thread: number; value: unknown }[] = []
    const pending = new Set(this.#threads.values())
    return new Promise((resolve) => {
      const done = () => {
        clock.clearTimeout(timer)
        this.#asked.delete(id)
        resolve(answers.sort((a, b) => a.thread - b.thread))
      }
      const timer = clock.setTimeout(done, answerMs)
      this.#asked.set(id, (thread, answer) => {
        if (answer !== null && pending.has(thread)) answers.push({ thread: thread.number, value: answer.value })
        pending.delete(thread)
        if (pending.size === 0) done()
      })
      this.broadcast({ type: 'ask', id, what })
    })
  }

  /** The worker of a thread, for profiles. @throws if there is none of this number */
  worker(number: number): Worker {
    const thread = this.#threads.get(number)
    if (thread === undefined) throw new Error(`there is no data thread ${number}`)
    return thread.worker
  }

  /**
   * Leads all threads out: listeners close together once no new connection has come for a while, what is open gets
   * until the deadline. Resolves when all are empty or the deadline has passed; the threads still live then.
   */
  async drain(): Promise<void> {
    const { clock, log } = this.#options
    const { quietMs, minimumMs, deadlineMs } = this.#options.config.drain
    this.#isLeaving = true
    this.#beatMs = drainBeatMs
    this.broadcast({ type: 'drain' })
    this.#beat()
    const start = clock.now()
    let accepted = this.#accepted()
    let movedAt = start
    while (clock.now() - start < Math.min(deadlineMs, minimumMs) || clock.now() - movedAt < quietMs) {
      if (clock.now() - start >= deadlineMs || this.#threads.size === 0) break
      await this.#moveOr(drainBeatMs)
      if (this.#accepted() !== accepted) movedAt = clock.now()
      accepted = this.#accepted()
    }
    log.info({ ms: Math.round(clock.now() - start), accepted }, 'no new connections: the listeners close')
    this.broadcast({ type: 'close' })
    while (!this.#isEmpty() && clock.now() - start < deadlineMs) {
      await this.#moveOr(Math.max(1, Math.min(drainBeatMs, deadlineMs - (clock.now() - start))))
    }
    const open = this.facts().reduce((sum, thread) => sum + thread.open, 0)
    if (!this.#isEmpty()) log.warn({ open, deadlineMs }, 'the deadline has come: what is open is reset')
  }

  /** Ends all threads at once. */
  async stop(): Promise<void> {
    const { clock } = this.#options
    this.#isLeaving = true
    if (this.#beatTimer !== null) clock.clearTimeout(this.#beatTimer)
    for (const thread of this.#threads.values()) thread.isDrained = false
    this.broadcast({ type: 'end' })
    const start = clock.now()
    while (!this.#isEmpty() && clock.now() - start < 1000) await this.#moveOr(50)
    await Promise.all(Array.from(this.#threads.values(), ({ worker }) => worker.terminate()))
  }

  #accepted(): number {
    let sum = 0
    for (const thread of this.#threads.values()) sum += thread.accepted
    return sum
  }

  #isEmpty(): boolean {
    for (const thread of this.#threads.values()) if (!thread.isDrained) return false
    return true
  }

  /** Resolves when a thread has said something about its leaving, at the latest after so long. */
  #moveOr(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = this.#options.clock.setTimeout(resolve, ms)
      this.#onMove = () => {
        this.#options.clock.clearTimeout(timer)
        resolve()
      }
    })
  }

  #spawn(number: number): void {
    const { config, script, clock, gatherer, log } = this.#options
    const start: ThreadStart = { config, thread: number, threads: config.dataThreads, limits: this.#limits }
    const worker = new Worker(script, { workerData: start, name: `data-${number}` })
    const thread: DataThread = {
      name: `data thread ${number}`,
      number,
      worker,
      counters: gatherer.join(number),
      post: (message) => worker.postMessage(message),
      isStarted: false,
      heardAt: clock.now(),
      accepted: 0,
      open: 0,
      listening: null,
      isDrained: false,
    }
    this.#threads.set(number, thread)
    worker.on('message', (message: FromThread) => this.#handle(thread, message))
    worker.on('error', (error) => log.error({ thread: number, ...errorFields(error) }, 'a data thread failed'))
    worker.on('exit', (code) => this.#ended(thread, code))
    if (log.level() !== config.logLevel) thread.post({ type: 'level', level: log.level() })
  }

  #ended(thread: DataThread, code: number): void {
    const { clock, keeper, gatherer, log, onFatal, onChange } = this.#options
    keeper.leave(thread)
    gatherer.leave(thread.counters)
    this.#threads.delete(thread.number)
    this.#onMove()
    for (const answered of this.#asked.values()) answered(thread, null)
    if (this.#isLeaving) return
    const now = clock.now()
    this.restarts++
    this.#deaths = [...this.#deaths.filter((at) => now - at < deathsWithinMs), now]
    log.error({ thread: thread.number, code, deaths: this.#deaths.length }, 'a data thread has ended; another starts')
    if (this.#deaths.length >= deathsMost) {
      onFatal(`data threads ended ${deathsMost} times within ${deathsWithinMs / 1000} s`)
      return
    }
    this.#spawn(thread.number)
    onChange()
  }

  #beat(): void {
    const { clock, onChange } = this.#options
    if (this.#beatTimer !== null) clock.clearTimeout(this.#beatTimer)
    this.broadcast({ type: 'beat', number: ++this.#beats })
    onChange()
    this.#beatTimer = clock.setTimeout(() => this.#beat(), this.#beatMs)
  }

  #handle(thread: DataThread, message: FromThread): void {
    const { keeper, gatherer, sink, log, clock, onChange } = this.#options
    switch (message.type) {
      case 'started':
        this.#started(thread)
        break
      case 'prepared':
      case 'committed':
      case 'refused':
        keeper.handle(thread, message)
        break
      case 'listening':
        thread.listening = message
        if (message.failed.length > 0) log.error({ thread: thread.number, failed: message.failed }, 'ports do not open')
        onChange()
        break
      case 'heartbeat':
        thread.heardAt = clock.now()
        thread.accepted = message.accepted
        thread.open = message.open
        break
      case 'drained':
        thread.isDrained = true
        this.#onMove()
        break
      case 'answer':
        this.#asked.get(message.id)?.(thread, message)
        break
      case 'slots':
        gatherer.addSlots(thread.counters, message.buffer)
        break
      case 'series':
        gatherer.change(thread.counters, message)
        break
      case 'lines':
        sink.write(message.text)
        break
      case 'need':
        this.#options.onNeed(message.account)
        break
      case 'noticed':
        this.#options.onNoticed(message.notice)
        break
      case 'log':
        log.relay(thread.number, message)
    }
  }

  #started(thread: DataThread): void {
    const { keeper, clock, greet, onChange, onFatal } = this.#options
    greet(thread.post)
    keeper.join(thread).then(
      () => {
        thread.isStarted = true
        thread.heardAt = clock.now()
        onChange()
      },
      (error: Error) => onFatal(error.message),
    )
  }
}
