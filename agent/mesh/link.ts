// Control thread: the line to the controller. Streams the snapshot and its changes, hands each transaction on as a whole,
// reports what became of it, and comes back when the line breaks.

import { readFile } from 'node:fs/promises'
import type { Report } from '../../controller/contract/messages.ts'
import { contract } from '../../controller/contract/version.ts'
import { Agent, type Dispatcher } from '../client.ts'
import type { Clock, Timer } from '../clock.ts'
import { errorFields, type Log } from '../observe/log.ts'
import { CheckError } from './check.ts'
import { Conversation, decoded, linesOf } from './conversation.ts'
import type { Wanted } from './store.ts'

export interface LinkOptions {
  /** Origin of the controller. */
  readonly controller: string
  readonly node: string
  readonly pod: string
  /** Empty: no token is shown. */
  readonly tokenFile: string
  /** What requests are sent with now; asked for each of them. */
  readonly dispatcher: () => Dispatcher
  readonly clock: Clock
  readonly random: () => number
  readonly log: Log
  /** Puts a snapshot in force. @returns why not, or null */
  readonly offer: (wanted: Wanted) => Promise<string | null>
  /** Version in force. */
  readonly version: () => string
  /** What reports say beside it. */
  readonly claims?: () => Pick<Report, 'trust' | 'signers' | 'notices'>
  /** Called when the outcome of the first attempt is known: a transaction has come, or the line has failed. */
  readonly onFirst: () => void
  /** Reports of what was applied wait between one and three times this for others. */
  readonly gatherMs?: number
  /** Called when the controller has accepted the line, before anything of its snapshot is taken. */
  readonly onConnect?: () => void
}

/** The controller pings after 10 s of silence: three missed ones. */
const silenceMs = 30_000
const backoffMs = 10
/** Agents of a mesh whose controllers were all away are back within this, and are no crowd: nothing listens meanwhile. */
const backoffMaxMs = 3000
/**
 * A transaction that was applied is reported after one to three times this, with all that follow it until then: the agents of
 * a large mesh must not answer each change all at once. What was refused is told at once.
 */
export const gatherMs = 1000

export interface LinkStatus {
  readonly isConnected: boolean
  /** The replica at the other end; '' before its hello. */
  readonly controller: string
  /** Clock's ms of the last byte heard; 0: none yet. */
  readonly heardAt: number
  readonly connects: number
  readonly applied: number
  readonly refused: number
  /** Why the last transaction was refused; null if it was not. */
  readonly refusal: { readonly version: string; readonly message: string } | null
}

/** Sends requests to a controller in plain text. */
export function plainDispatcher(): Dispatcher {
  return new Agent({ allowH2: false, connect: { timeout: 5000 } })
}

/** Jittered delay before an attempt: 10 ms, doubling to 3 s, each between its half and its whole. */
export function reconnectDelay(failures: number, random: () => number): number {
  return Math.min(backoffMaxMs, backoffMs * 2 ** Math.min(failures, 20)) * (0.5 + random() / 2)
}

export class Link {
  readonly #options: LinkOptions
  readonly #stopped = new AbortController()
  #status: LinkStatus = {
    isConnected: false,
    controller: '',
    heardAt: 0,
    connects: 0,
    applied: 0,
    refused: 0,
    refusal: null,
  }
  /** What the controller wants, which may differ from what is in force after a refusal; null: a full transaction must come. */
  #wanted: Wanted | null = null
  #failures = 0
  /** What was last warned of; '' when all is well. */
  #trouble = ''
  /** Where the replica at the other end takes reports; '' where it doesn't say, or there is none. */
  #reportsTo = ''
  #report: Report | null = null
  #isReporting = false
  /** Runs while a report waits for others. */
  #gathering: Timer | null = null
  /** Whether the replica at the other end has heard where we stand. */
  #hasReported = false
  #running: Promise<void> | null = null

  constructor(options: LinkOptions) {
    this.#options = options
  }

  get status(): LinkStatus {
    return this.#status
  }

  start(): void {
    this.#running ??= this.#run()
  }

  /** Ends the line; resolves when nothing of it is left. */
  async stop(): Promise<void> {
    this.#stopped.abort()
    this.#stopGathering()
    await this.#running
  }

  async #run(): Promise<void> {
    const { log, random, onFirst, controller } = this.#options
    while (!this.#stopped.signal.aborted) {
      try {
        await this.#session()
        log.info({ controller }, 'the controller closed the link')
      } catch (error) {
        if (this.#stopped.signal.aborted) break
        this.#complain(error)
      }
      this.#set({ isConnected: false })
      onFirst()
      await this.#pause(reconnectDelay(this.#failures++, random))
    }
    this.#set({ isConnected: false })
  }

  /** Warns of each new trouble; what repeats itself until the controller is back is for those who debug. */
  #complain(error: unknown): void {
    const { log, controller } = this.#options
    const { stack, ...fields } = errorFields(error)
    const message = this.#status.isConnected ? 'the link to the controller broke' : 'no link to the controller'
    const trouble = String(fields['error'])
    if (trouble !== this.#trouble) log.warn({ controller, failures: this.#failures, ...fields }, message)
    else log.debug({ controller, failures: this.#failures, ...fields, stack }, message)
    this.#trouble = trouble
  }

  /** One connection, from its request to its end. */
  async #session(): Promise<void> {
    const { node, pod, controller, log } = this.#options
    const query = new URLSearchParams({
      node,
      pod,
      oldest: String(contract.oldest),
      newest: String(contract.newest),
    })
    const silence = new Silence(this.#options.clock)
    const signal = AbortSignal.any([this.#stopped.signal, silence.signal])
    try {
      const headers = { ...(await this.#headers()), 'accept-encoding': 'gzip', accept: 'application/x-ndjson' }
      const response = await this.#options.dispatcher().request({
        origin: controller,
        path: `/v1/snapshot?${query}`,
        method: 'GET',
        headers,
        signal,
        // A kept connection would lead back to the replica that has just sent us away.
        reset: true,
        headersTimeout: silenceMs,
        // The time between bytes is the watchdog's business.
        bodyTimeout: 0,
      })
      if (response.statusCode !== 200) throw new Error(await complaint(response))
      this.#set({ isConnected: true, connects: this.#status.connects + 1 })
      this.#options.onConnect?.()
      this.#wanted = null
      const conversation = new Conversation((wanted) => this.#take(wanted))
      const body = decoded(response)
      for await (const line of linesOf(body, () => this.#hear(silence))) {
        await conversation.next(line)
        if (conversation.controller !== this.#status.controller) {
          this.#set({ controller: conversation.controller })
          this.#reportsTo = conversation.address === '' ? '' : originOf(controller, conversation.address)
          log.info({ controller, replica: conversation.controller }, 'linked to the controller')
        }
      }
    } catch (error) {
      // Unreadable rather than unwanted: the controller should know, though the line ends here.
      if (error instanceof CheckError) this.#refuse('', error.message)
      throw silence.signal.aborted ? silence.signal.reason : error
    } finally {
      silence.end()
      this.#reportsTo = ''
      this.#hasReported = false
      this.#set({ controller: '' })
    }
  }

  #hear(silence: Silence): void {
    silence.heard()
    this.#set({ heardAt: this.#options.clock.now() })
  }

  /** Takes a whole transaction: `build` adds it to what the controller wanted before. */
  async #take(build: (base: Wanted | null) => Wanted): Promise<void> {
    const { offer, log, onFirst } = this.#options
    const wanted = build(this.#wanted)
    this.#wanted = wanted
    const before = this.#status.refusal
    const refusal = await offer(wanted)
    if (refusal === null) {
      this.#failures = 0
      this.#trouble = ''
      this.#set({ applied: this.#status.applied + 1, refusal: null })
      log.debug({ version: wanted.version, resources: wanted.lines.size }, 'snapshot applied')
      if (this.#hasReported && before === null) this.#gather()
      else this.#send(null)
    } else this.#refuse(wanted.version, refusal)
    onFirst()
  }

  #refuse(version: string, message: string): void {
    const { log } = this.#options
    log.error({ version, inForce: this.#options.version(), error: message }, 'snapshot refused as a whole')
    this.#set({ refused: this.#status.refused + 1, refusal: { version, message } })
    this.#send({ version, message })
  }

  /** Reports anew: the claims have changed. */
  tell(): void {
    this.#send(this.#status.refusal)
  }

  #set(change: Partial<LinkStatus>): void {
    this.#status = { ...this.#status, ...change }
  }

  /** Reports where we stand; only the latest report matters, and it is sent until it has arrived. */
  #send(error: Report['error']): void {
    const { node, pod, version, claims } = this.#options
    this.#stopGathering()
    this.#hasReported = true
    this.#report = { node, pod, version: version(), error, ...claims?.() }
    if (!this.#isReporting) void this.#deliver()
  }

  /** Reports before long. */
  #gather(): void {
    const { clock, random, gatherMs: unit = gatherMs } = this.#options
    this.#gathering ??= clock.setTimeout(() => this.tell(), unit * (1 + 2 * random()))
  }

  #stopGathering(): void {
    if (this.#gathering !== null) this.#options.clock.clearTimeout(this.#gathering)
    this.#gathering = null
  }

  async #deliver(): Promise<void> {
    this.#isReporting = true
    for (let failures = 0; this.#report !== null && !this.#stopped.signal.aborted; ) {
      const report = this.#report
      try {
        // The replica that sent the snapshot should know; if it is out of reach, any will do.
        const origin = failures === 0 && this.#reportsTo !== '' ? this.#reportsTo : this.#options.controller
        await this.#post(origin, report)
        failures = 0
        if (this.#report === report) this.#report = null
      } catch (error) {
        this.#options.log.debug(errorFields(error), 'report to the controller failed')
        await this.#pause(reconnectDelay(6 + failures++, this.#options.random))
      }
    }
    this.#isReporting = false
  }

  async #post(origin: string, report: Report): Promise<void> {
    const response = await this.#options.dispatcher().request({
      origin,
      method: 'POST',
      path: '/v1/report',
      headers: { ...(await this.#headers()), 'content-type': 'application/json' },
      body: JSON.stringify(report),
      signal: AbortSignal.any([this.#stopped.signal, AbortSignal.timeout(10_000)]),
    })
    if (response.statusCode >= 300) throw new Error(await complaint(response))
    await response.body.dump()
  }

  async #headers(): Promise<Record<string, string>> {
    const { tokenFile } = this.#options
    if (tokenFile === '') return {}
    // Read each time: the kubelet replaces a projected token before it expires.
    return { authorization: `Bearer ${(await readFile(tokenFile, 'utf8')).trim()}` }
  }

  #pause(ms: number): Promise<void> {
    const { clock } = this.#options
    const { signal } = this.#stopped
    return new Promise((resolve) => {
      const done = () => {
        clock.clearTimeout(timer)
        signal.removeEventListener('abort', done)
        resolve()
      }
      const timer = clock.setTimeout(done, ms)
      signal.addEventListener('abort', done)
      if (signal.aborted) done()
    })
  }
}

/** Aborts its signal when nothing was heard for too long. */
class Silence {
  readonly #clock: Clock
  readonly #controller = new AbortController()
  #timer: Timer

  constructor(clock: Clock) {
    this.#clock = clock
    this.#timer = this.#start()
  }

  get signal(): AbortSignal {
    return this.#controller.signal
  }

  heard(): void {
    this.#clock.clearTimeout(this.#timer)
    this.#timer = this.#start()
  }

  end(): void {
    this.#clock.clearTimeout(this.#timer)
  }

  #start(): Timer {
    const expire = () => this.#controller.abort(new Error(`heard nothing from the controller for ${silenceMs} ms`))
    return this.#clock.setTimeout(expire, silenceMs)
  }
}

/** The origin of one replica: spoken to as the controller is, at an address of its own. */
function originOf(controller: string, address: string): string {
  return `${new URL(controller).protocol}//${address}`
}

async function complaint({ statusCode, body }: Dispatcher.ResponseData): Promise<string> {
  const text = (await body.text()).slice(0, 500).trim()
  return `the controller answered ${statusCode}${text === '' ? '' : `: ${text}`}`
}
