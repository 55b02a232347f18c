// The agent as a whole, on its control thread: puts link, cache, data threads, DNS and the admin servers together, in the
// order in which they start and end. main.ts runs it as a process; tests run several in one.

import { once } from 'node:events'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Readable, Writable } from 'node:stream'
import type { Report } from '../controller/contract/messages.ts'
import { listenOn } from './address.ts'
import type { Clock, Timer } from './clock.ts'
import type { AgentConfig } from './config.ts'
import { type DnsServer, serveDns } from './dns/serve.ts'
import { type Zone, zoneOf } from './dns/zone.ts'
import { type Follower, followAccounts } from './identity/follow.ts'
import { type IdentityPart, startIdentity } from './identity/identity.ts'
import { CacheWriter, loadCache } from './mesh/cache.ts'
import { Keeper } from './mesh/keeper.ts'
import { Link, plainDispatcher } from './mesh/link.ts'
import type { Wanted } from './mesh/store.ts'
import { AccessSink } from './observe/accesslog.ts'
import { type AdminSources, adminServer, statsServer } from './observe/admin.ts'
import { borrowedMetrics } from './observe/borrowed.ts'
import { Gatherer } from './observe/gather.ts'
import { type ControlLog, errorFields } from './observe/log.ts'
import { type Metric, pathMetrics } from './observe/metrics.ts'
import { NoticeBoard } from './observe/notices.ts'
import { ownMetrics, type ProcessFacts } from './observe/own.ts'
import { Ready } from './observe/ready.ts'
import { Threads } from './threads.ts'

export interface AgentSurroundings {
  readonly clock: Clock
  /** Numbers in [0, 1). */
  readonly random: () => number
  readonly log: ControlLog
  /** Takes the access log. */
  readonly out: Writable
  readonly facts: ProcessFacts
  /** What data threads run. */
  readonly script: URL
  /** The agent can't go on. */
  readonly onFatal: (reason: string) => void
}

/** A report that reached a controller which then ended is made good after this. */
const reportMs = 5 * 60_000
/** With a copy on disk, the agent waits so long for news from the controller before it takes callers. */
const freshMs = 3000

export class Agent {
  readonly ready: Ready
  readonly threads: Threads
  readonly keeper: Keeper
  readonly link: Link
  readonly #config: AgentConfig
  readonly #surroundings: AgentSurroundings
  readonly #cache: CacheWriter
  readonly #dispatcher = plainDispatcher()
  /** null with a controller in plain text: a mesh without identities. */
  readonly #identity: IdentityPart | null
  readonly #accounts: Follower | null
  readonly #metrics: Metric[]
  readonly #notices: NoticeBoard
  readonly #servers: Server[] = []
  #zone: Zone
  #reportTimer: Timer | null = null
  #dns: DnsServer | null = null
  #stopping: Promise<void> | null = null

  constructor(config: AgentConfig, surroundings: AgentSurroundings) {
    const { clock, random, log, out, facts, script, onFatal } = surroundings
    this.#config = config
    this.#surroundings = surroundings
    this.ready = new Ready((isReady, blockers) =>
      isReady ? log.info({}, 'ready') : log.warn({ blockers: Object.fromEntries(blockers) }, 'no longer ready'),
    )
    this.#cache = new CacheWriter(config.cacheFile, config.node, clock, log)
    this.keeper = new Keeper(clock, (wanted) => this.#applied(wanted))
    this.#zone = zoneOf(this.keeper.inForce)
    this.#notices = new NoticeBoard(clock)
    const sink = new AccessSink(out)
    const gatherer = new Gatherer()
    const { keeper } = this
    this.threads = new Threads({
      config,
      script,
      clock,
      log,
      keeper,
      gatherer,
      sink,
      greet: (post) => this.#identity?.replay((message) => post({ type: 'identity', message })),
      onNeed: (account) => this.#identity?.need(account),
      onNoticed: (notice) => {
        if (this.#notices.add(notice)) this.link.tell()
      },
      onChange: () => this.#review(),
      onFatal,
    })
    this.link = new Link({
      controller: config.controller,
      node: config.node,
      pod: config.pod,
      tokenFile: config.tokenFile,
      dispatcher: () => this.#identity?.dispatcher() ?? this.#dispatcher,
      clock,
      random,
      log,
      offer: (wanted) => keeper.offer(wanted),
      version: () => keeper.inForce.version,
      claims: () => this.#claims(),
      onFirst: () => this.ready.clear('controller'),
      onConnect: () => this.#identity?.retry(),
    })
    this.#identity = config.controller.startsWith('https:') ? this.#startIdentity() : null
    this.#accounts = this.#identity === null ? null : followAccounts(clock, this.#identity)
    const { ready, threads, link } = this
    const own = ownMetrics({
      ...{ facts, ready, keeper, link, threads, sink },
      dns: () => this.#dns,
      identities: () => this.#identity?.list() ?? [],
      now: () => clock.now(),
    })
    this.#metrics = [...own, ...pathMetrics(gatherer), ...borrowedMetrics(gatherer, config.metricsAs)]
  }

  /**
   * Starts everything. Resolves when all of the agent's own ports are open; `ready` tells when it may be used.
   * @param cached the snapshot from disk, if there is one
   * @throws if a port can't be opened
   */
  async start(cached: Wanted | null): Promise<void> {
    const { ports, address, adminAddress } = this.#config
    const { clock, log } = this.#surroundings
    this.ready.block('controller', 'the first answer of the controller')
    this.#review()
    const sources = this.#adminSources()
    await this.#listen(statsServer(sources), ports.stats, address)
    await this.#listenAdmin(adminServer(sources), ports.admin, adminAddress)
    this.#dns = await serveDns({ address, port: ports.dns, zone: () => this.#zone, log })
    this.threads.start()
    if (cached !== null) await this.#serveCached(cached)
    clock.setTimeout(() => this.ready.clear('controller'), freshMs).unref()
    void (this.#identity?.trusted ?? Promise.resolve()).then(() => {
      if (this.#stopping !== null) return
      this.link.start()
      this.#reportAgain()
    })
  }

  /** What reports say beside where we stand. */
  #claims(): Pick<Report, 'trust' | 'signers' | 'notices'> {
    const notices = this.#notices.current()
    return { ...this.#identity?.report(), ...(notices.length === 0 ? {} : { notices }) }
  }

  #reportAgain(): void {
    const { clock, random } = this.#surroundings
    this.#reportTimer = clock.setTimeout(
      () => {
        this.link.tell()
        this.#reportAgain()
      },
      reportMs * (0.75 + random() / 2),
    )
    this.#reportTimer.unref()
  }

  /** Not ready from now on; resolves when the data threads have let go of their callers, or the deadline has come. */
  async drain(): Promise<void> {
    this.ready.block('draining', 'the end of this process')
    await this.threads.drain()
  }

  /** Ends everything that `start` started. */
  stop(): Promise<void> {
    this.#stopping ??= this.#stop()
    return this.#stopping
  }

  async #stop(): Promise<void> {
    this.ready.block('draining', 'the end of this process')
    this.#accounts?.stop()
    if (this.#reportTimer !== null) this.#surroundings.clock.clearTimeout(this.#reportTimer)
    await this.link.stop()
    await this.threads.stop()
    await this.#identity?.stop()
    await this.#dispatcher.destroy()
    await this.#dns?.close()
    await this.#cache.flush()
    for (const server of this.#servers) {
      server.closeAllConnections()
      if (server.listening) await new Promise((resolve) => server.close(resolve))
    }
  }

  /** Ports that were really opened, for those given as 0. */
  get openPorts(): { stats: number; admin: number; dns: number } {
    const [stats = 0, admin = 0] = this.#servers.map((server) => (server.address() as AddressInfo | null)?.port ?? 0)
    return { stats, admin, dns: this.#dns?.port ?? 0 }
  }

  async #listen(server: Server, port: number, address: string): Promise<void> {
    this.#servers.push(server)
    server.listen(listenOn(address, port))
    await once(server, 'listening')
  }

  /** Debug endpoints are worth an error, not a node without mesh. */
  async #listenAdmin(server: Server, port: number, address: string): Promise<void> {
    try {
      await this.#listen(server, port, address)
    } catch (error) {
      const { log } = this.#surroundings
      log.error({ address, port, ...errorFields(error) }, 'no debug endpoints: choose another --admin-address or -port')
    }
  }

  async #serveCached(cached: Wanted): Promise<void> {
    const { log } = this.#surroundings
    const refusal = await this.keeper.offer(cached)
    const fields = { version: cached.version, resources: cached.lines.size }
    if (refusal === null) log.info(fields, 'serving from the snapshot on disk')
    else log.error({ ...fields, error: refusal }, 'the snapshot on disk is refused as a whole')
  }

  #applied(wanted: Wanted): void {
    this.#zone = zoneOf(wanted)
    this.#cache.save(wanted)
    this.#accounts?.applied(wanted)
    this.#review()
  }

  #startIdentity(): IdentityPart {
    const { controller, trustDir, tokenFile } = this.#config
    const { clock, random, log } = this.#surroundings
    return startIdentity({
      trustFolder: trustDir,
      controller,
      tokenFile,
      clock,
      random,
      publish: (message) => this.threads.broadcast({ type: 'identity', message }),
      changed: () => {
        this.link.tell()
        this.#review()
      },
      log: (level, fields, message) => log[level](fields, message),
    })
  }

  /** Brings the ledger up to date. */
  #review(): void {
    const { ready, threads, keeper } = this
    const thread = threads.blocker()
    const port = threads.portBlocker()
    const identity = this.#accounts?.blocker() ?? null
    ready.require('snapshot', keeper.inForce.version !== '', 'a snapshot from the controller')
    ready.require('threads', thread === null, thread ?? '')
    ready.require('ports', port === null, port ?? '')
    ready.require('identity', identity === null, identity ?? '')
  }

  #adminSources(): AdminSources {
    const { log } = this.#surroundings
    return {
      config: this.#config,
      ready: this.ready,
      ailment: () => this.threads.ailment(),
      metrics: this.#metrics,
      inForce: () => this.keeper.inForce,
      ask: (what) => this.threads.ask(what),
      identities: () => ({ trouble: this.#identity?.trouble() ?? '', accounts: this.#identity?.list() ?? [] }),
      level: () => log.level(),
      setLevel: (level) => {
        log.setLevel(level)
        this.threads.broadcast({ type: 'level', level })
      },
      profile: (thread, ms) => this.#profile(thread, ms),
      heap: (thread) => this.#heap(thread),
    }
  }

  async #profile(thread: number | null, ms: number): Promise<string> {
    const pause = () => new Promise<void>((resolve) => this.#surroundings.clock.setTimeout(resolve, ms))
    if (thread !== null) {
      const handle = await this.threads.worker(thread).startCpuProfile()
      await pause()
      return handle.stop()
    }
    const { Session } = await import('node:inspector/promises')
    const session = new Session()
    session.connect()
    try {
      await session.post('Profiler.enable')
      await session.post('Profiler.start')
      await pause()
      const { profile } = await session.post('Profiler.stop')
      return JSON.stringify(profile)
    } finally {
      session.disconnect()
    }
  }

  async #heap(thread: number | null): Promise<Readable> {
    if (thread !== null) return this.threads.worker(thread).getHeapSnapshot()
    const { getHeapSnapshot } = await import('node:v8')
    return getHeapSnapshot()
  }
}

/** The snapshot on disk, if it can be used. */
export function readCached(config: AgentConfig, log: ControlLog): Promise<Wanted | null> {
  return loadCache(config.cacheFile, config.node, log)
}
