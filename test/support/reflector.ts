// A reflector and the scripted API server that it follows, for tests of single behaviours.

import type { ServerResponse } from 'node:http'
import { pino } from 'pino'
import { type Clock, systemClock } from '../../controller/clock.ts'
import type { KubeObject } from '../../controller/observe/objects.ts'
import { type Reflector, startReflector } from '../../controller/observe/reflector.ts'
import { openStore, type Store } from '../../controller/observe/store.ts'
import { type FakeServer, json, startFakeServer } from './fakeserver.ts'

type Answer = (response: ServerResponse, url: URL) => void

const log = pino({ level: 'silent' })

/** An object of the kind that the reflector follows. */
export function thing(name: string, version: number, more: Record<string, unknown> = {}) {
  return { metadata: { name, namespace: 'shop', uid: `uid-${name}`, resourceVersion: String(version), ...more } }
}

/** A page of a list. */
export function page(version: number, items: unknown[], token?: string) {
  return { metadata: { resourceVersion: String(version), continue: token }, items }
}

export class ReflectorBench {
  server!: FakeServer
  reflector!: Reflector
  store!: Store<KubeObject>
  changes = 0
  missing = 0
  /** Answers for lists, the first for the first; the last one stays. */
  lists: Answer[] = [(response) => json(response, 200, page(10, [thing('a', 1), thing('b', 2)]))]
  /** Watches taken so far. */
  watches: ServerResponse[] = []
  onWatch: Answer = (response) => {
    response.writeHead(200)
    response.flushHeaders()
    this.watches.push(response)
  }

  async start(more: { clock?: Clock; keep?: (object: KubeObject) => KubeObject } = {}): Promise<void> {
    this.server = await startFakeServer(({ url }, response) => {
      if (url.searchParams.get('watch') === 'true') return this.onWatch(response, url)
      const answer = this.lists.length > 1 ? this.lists.shift()! : this.lists[0]!
      answer(response, url)
    })
    this.store = openStore()
    this.reflector = startReflector({
      api: this.server.api,
      clock: more.clock ?? systemClock,
      log,
      path: '/api/v1/things',
      apiVersion: 'v1',
      kind: 'Thing',
      store: this.store,
      keep: more.keep ?? ((object) => object),
      changed: () => this.changes++,
      missing: () => this.missing++,
    })
  }

  async stop(): Promise<void> {
    await this.reflector.stop()
    await this.server.close()
  }

  names(): string[] {
    return [...this.store.view().keys()].sort()
  }

  version(name: string): string | undefined {
    return this.store.view().get(`shop/${name}`)?.metadata.resourceVersion
  }
}
