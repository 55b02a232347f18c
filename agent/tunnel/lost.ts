// Peers that can't be reached. Whether one is there is asked of its kernel, by a bare TCP connection: an agent that is merely
// busy still counts as there. Who is lost is looked for until it answers; its endpoints are left aside meanwhile
// (balance/roster.ts), and nobody's request is the one that finds out.

import { connect } from 'node:net'
import type { Clock, Timer } from '../clock.ts'

/** An agent's tunnel port. */
export interface PeerPlace {
  readonly address: string
  readonly port: number
}

export interface LostOptions {
  readonly clock: Clock
  /** Address to connect from; the system chooses if it is absent. */
  readonly localAddress?: string | undefined
  /** Whether there should still be an agent at a place: else nobody looks for it any longer. */
  readonly isPeer: (place: PeerPlace) => boolean
  /** It is silent on its sessions, and its kernel does not answer either: they are of no use. */
  readonly onLost: (place: PeerPlace) => void
  /** It answers again. */
  readonly onFound: (place: PeerPlace) => void
}

/** A kernel answers within a round trip. With the silence before it (pulse.ts), a loss is known within 2 s. */
const knockMs = 750
/** Between two attempts to find a lost one. */
const pauseMs = 250

/** The lost peers of a data thread. */
export class LostPeers {
  /** Changes whenever somebody is lost or found; 0: nobody ever was. */
  version = 0
  readonly #options: LostOptions
  readonly #lost = new Set<string>()
  /** Connections and pauses that go on, by address. */
  readonly #waits = new Map<string, () => void>()

  constructor(options: LostOptions) {
    this.#options = options
  }

  /** How many are lost. */
  get size(): number {
    return this.#lost.size
  }

  /** Whether the agent at an address is lost. */
  has(address: string): boolean {
    return this.#lost.has(address)
  }

  /** Somebody is silent: finds out whether he is there. */
  suspect(place: PeerPlace): void {
    if (!this.#waits.has(place.address)) this.#knock(place)
  }

  /**
   * A connection could not be made: he is lost until one can. Sessions go on: an agent that ends takes no new connections and
   * serves those that it has.
   */
  lose(place: PeerPlace): void {
    const { address } = place
    if (!this.#lost.has(address)) {
      this.#lost.add(address)
      this.version++
    }
    if (!this.#waits.has(address)) this.#later(place)
  }

  /** Ends the search for all. */
  close(): void {
    for (const cancel of this.#waits.values()) cancel()
    this.#waits.clear()
  }

  #knock(place: PeerPlace): void {
    const { clock, localAddress } = this.#options
    const { address, port } = place
    const socket = connect({ host: address, port, ...(localAddress === undefined ? {} : { localAddress }) })
    const settle = (answer: 'open' | 'refused' | 'none') => {
      cancel()
      this.#waits.delete(address)
      if (answer === 'open') {
        this.#find(place)
        return
      }
      if (answer === 'none') this.#options.onLost(place)
      this.lose(place)
    }
    // If this thread was the one that stood still, the answer is there already, and is looked at first.
    const late = () => this.#waits.get(address) === cancel && settle('none')
    const timer = clock.setTimeout(() => setImmediate(() => setImmediate(late)), knockMs)
    timer.unref()
    const cancel = () => {
      clock.clearTimeout(timer)
      socket.removeAllListeners()
      socket.on('error', () => {})
      socket.destroy()
    }
    socket.unref()
    socket.once('connect', () => settle('open'))
    socket.once('error', ({ code }: NodeJS.ErrnoException) => settle(code === 'ECONNREFUSED' ? 'refused' : 'none'))
    this.#waits.set(address, cancel)
  }

  #later(place: PeerPlace): void {
    const { clock, isPeer } = this.#options
    const timer: Timer = clock.setTimeout(() => {
      this.#waits.delete(place.address)
      if (isPeer(place)) this.#knock(place)
      else this.#find(place)
    }, pauseMs)
    timer.unref()
    this.#waits.set(place.address, () => clock.clearTimeout(timer))
  }

  #find(place: PeerPlace): void {
    if (!this.#lost.delete(place.address)) return
    this.version++
    this.#options.onFound(place)
  }
}
