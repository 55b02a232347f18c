// The first stage of the controller: a reflector for each kind, started and stopped as the cluster comes to serve it, and
// the World that they make together.

import type { Logger } from 'pino'
import type { Clock } from '../clock.ts'
import { messageOf } from '../errors.ts'
import type { Api } from './api.ts'
import { crdName, discover, type Served } from './discovery.ts'
import { apiVersionOf, builtinKinds, dropUnread, type KindSpec, pathOf, smiKinds } from './kinds.ts'
import type { KubeObject } from './objects.ts'
import { type Reflector, startReflector } from './reflector.ts'
import { openStore, type Store } from './store.ts'
import { emptyWorld, type World } from './world.ts'

export interface Observer {
  world(): World
  /** What still keeps the World from being whole, for readiness; empty once everything was listed. */
  missing(): string[]
  /** Version and status subresource of an SMI kind by part of the World; undefined: the cluster does not serve it. */
  served(part: keyof World): Served | undefined
  /** For metrics. */
  reflectors(): { part: keyof World; reflector: Reflector; objects: number }[]
  stop(): Promise<void>
}

export interface ObserverOptions {
  api: Api
  clock: Clock
  log: Logger
  /** Something changed, or the World has just become whole. */
  changed(): void
}

/** How often the cluster is asked for new CRDs: while a kind is missing, and when all are there. */
const discoverMissingMs = 5000
const discoverAllMs = 30_000

interface Followed {
  spec: KindSpec
  store: Store<KubeObject>
  reflector: Reflector | null
  version: string
}

/** Starts observing the cluster. */
export function startObserver(options: ObserverOptions): Observer {
  const { api, clock, log } = options
  const stopping = new AbortController()
  let recheck = new AbortController()
  let hasDiscovered = false
  let discoveryTrouble = ''
  let served = new Map<string, Served>()

  const followed = [...builtinKinds, ...smiKinds].map(
    (spec): Followed => ({ spec, store: openStore(spec.isSame), reflector: null, version: '' }),
  )

  function changed(): void {
    try {
      options.changed()
    } catch (thrown) {
      log.error({ error: thrown }, 'handling a change failed')
    }
  }

  function follow(each: Followed, version: string): void {
    const { spec, store } = each
    each.version = version
    const reflector = startReflector({
      api,
      clock,
      log,
      path: pathOf(spec, version),
      apiVersion: apiVersionOf(spec, version),
      kind: spec.kind,
      store,
      keep: spec.keep ?? dropUnread,
      changed,
      missing: () => recheck.abort(),
    })
    each.reflector = reflector
    // An empty list changes no store, yet may be what the World was waiting for.
    void reflector.synced.then(changed)
  }

  /** Starts, moves or ends the reflector of an SMI kind as the cluster serves it now. */
  async function adapt(each: Followed): Promise<void> {
    const version = served.get(crdName(each.spec))?.version ?? ''
    if (version === each.version) return
    log.info({ kind: each.spec.kind, from: each.version, to: version }, 'served version of a kind changed')
    await each.reflector?.stop()
    each.reflector = null
    each.version = ''
    if (version !== '') follow(each, version)
    else if (each.store.replace([])) changed()
  }

  async function keepDiscovering(): Promise<void> {
    const smi = followed.filter((each) => smiKinds.includes(each.spec))
    while (!stopping.signal.aborted) {
      recheck = new AbortController()
      try {
        served = await discover(api, smiKinds, stopping.signal)
        for (const each of smi) await adapt(each)
        discoveryTrouble = ''
        if (!hasDiscovered) {
          hasDiscovered = true
          changed()
        }
      } catch (thrown) {
        if (stopping.signal.aborted) return
        discoveryTrouble = messageOf(thrown)
        log.warn({ error: discoveryTrouble }, 'discovering the SMI kinds failed, trying again')
      }
      await pause()
    }
  }

  async function pause(): Promise<void> {
    const ms = !hasDiscovered ? 1000 : served.size < smiKinds.length ? discoverMissingMs : discoverAllMs
    // A reflector that lost its kind asks sooner, but not at once: it may ask again and again.
    await clock.sleep(1000, stopping.signal)
    const rest = Math.max(0, ms * (0.75 + clock.random() / 2) - 1000)
    await clock.sleep(rest, AbortSignal.any([stopping.signal, recheck.signal]))
  }

  for (const each of followed.slice(0, builtinKinds.length)) follow(each, each.spec.versions[0]!)
  const discovering = keepDiscovering()

  return {
    world() {
      const parts = followed.map(({ spec, store }) => [spec.part, store.view()])
      return { ...emptyWorld, ...Object.fromEntries(parts) }
    },
    missing() {
      const waiting = followed
        .filter(({ reflector }) => reflector !== null && !reflector.hasSynced)
        .map(({ spec, reflector }) => describe(`listing ${spec.kind}`, reflector!.trouble))
      return hasDiscovered ? waiting : [describe('discovering SMI kinds', discoveryTrouble), ...waiting]
    },
    served: (part) => {
      const spec = smiKinds.find((each) => each.part === part)
      return spec === undefined ? undefined : served.get(crdName(spec))
    },
    reflectors: () =>
      followed.flatMap(({ spec, store, reflector }) =>
        reflector === null ? [] : [{ part: spec.part, reflector, objects: store.size }],
      ),
    async stop() {
      stopping.abort()
      await discovering
      await Promise.all(followed.map(({ reflector }) => reflector?.stop()))
    },
  }
}

function describe(what: string, trouble: string): string {
  return trouble === '' ? what : `${what}: ${trouble}`
}
