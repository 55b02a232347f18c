// Two controllers that both believe to lead, with views of any age and writes that arrive late and in any order: the API
// server's rules alone keep them apart. No mesh port ever has two owners.

import { expect } from 'chai'
import type { Namespace, Service } from '../../../controller/observe/objects.ts'
import { emptyWorld, type World } from '../../../controller/observe/world.ts'
import { resolve } from '../../../controller/resolve/resolve.ts'
import { defaultSettings } from '../../../controller/resolve/settings.ts'
import type { Topology } from '../../../controller/resolve/topology.ts'
import { translate } from '../../../controller/translate/translate.ts'
import { planServices, type Step } from '../../../controller/update/plan.ts'

const settings = { ...defaultSettings, meshPorts: { first: 20_000, last: 20_004 } }
const restMs = 10 * 60_000

const shop: Namespace = {
  apiVersion: 'v1',
  kind: 'Namespace',
  metadata: { name: 'shop', uid: 'shop', resourceVersion: '1', labels: { 'weft.dev/mesh': 'enabled' } },
}

/** The API server, as far as writes go. */
class Cluster {
  #version = 1
  services = new Map<string, Service>()

  world(): World {
    return { ...emptyWorld, namespaces: new Map([['shop', shop]]), services: new Map(this.services) }
  }

  store(key: string, service: Service): void {
    this.#version++
    const metadata = { ...service.metadata, resourceVersion: String(this.#version) }
    this.services.set(key, { ...service, metadata: { ...metadata, uid: metadata.uid ?? `uid-${this.#version}` } })
  }

  /** Takes a write, or not: what exists is not created, and what is outdated changes nothing. */
  take(step: Step): void {
    const held = this.services.get(step.key)
    if (step.verb === 'create') {
      if (held === undefined) this.store(step.key, structuredClone(step.desired) as unknown as Service)
    } else if (step.verb === 'replace') {
      if (held?.metadata.resourceVersion === step.body.metadata.resourceVersion) this.store(step.key, step.body)
    } else if (held?.metadata.resourceVersion === step.actual.metadata.resourceVersion) this.services.delete(step.key)
  }

  /** Owners by mesh port, by what the Services show. */
  owners(): Map<number, string[]> {
    const owners = new Map<number, string[]>()
    for (const [key, { metadata, spec }] of this.services) {
      if (metadata.namespace !== settings.namespace) continue
      for (const { port, targetPort } of spec.ports ?? []) {
        const number = Number(targetPort)
        owners.set(number, [...(owners.get(number) ?? []), `${key}:${port}`])
      }
    }
    return owners
  }
}

class Controller {
  #view: World
  #last: Topology | null = null

  constructor(view: World) {
    this.#view = view
  }

  look(cluster: Cluster): void {
    this.#view = cluster.world()
  }

  /** What it writes, thinking that it leads. */
  pass(nowMs: number): Step[] {
    this.#last = resolve(this.#view, settings, this.#last, nowMs)
    const { withdraw, addresses, aliases, cleanup } = planServices(
      translate(this.#last, settings).services,
      this.#view.services,
      settings,
    )
    return [...withdraw, ...addresses, ...aliases, ...cleanup]
  }
}

function play(seed: number): void {
  let state = seed
  const random = (below: number) => {
    state = (state * 1103515245 + 12345) % 2147483648
    return Math.floor((state / 2147483648) * below)
  }
  const cluster = new Cluster()
  const controllers = [new Controller(cluster.world()), new Controller(cluster.world())]
  let underway: Step[] = []
  let nowMs = 0
  let names = 0

  function deliver(): void {
    const [step] = underway.splice(random(underway.length), 1)
    if (step === undefined) return
    cluster.take(step)
    for (const [port, owners] of cluster.owners()) {
      expect(owners, `seed ${seed}: owners of ${port}`).to.have.length(1)
    }
  }

  /** Users come and go with Services that have addresses of their own. */
  function change(): void {
    const own = [...cluster.services].filter(([key, { spec }]) => key.startsWith('shop/') && spec.type === 'ClusterIP')
    if (own.length > 2 || (own.length > 0 && random(3) === 0)) cluster.services.delete(own[random(own.length)]![0])
    else {
      const name = `db${names++}`
      const metadata = { name, namespace: 'shop', uid: `uid-${name}`, resourceVersion: '', creationTimestamp: '' }
      const ports = [{ port: random(2) === 0 ? 5432 : 80 }]
      cluster.store(`shop/${name}`, { apiVersion: 'v1', kind: 'Service', metadata, spec: { type: 'ClusterIP', ports } })
    }
  }

  for (let turn = 0; turn < 120; turn++) {
    const index = random(2)
    const action = random(40)
    if (action < 12) controllers[index]!.look(cluster)
    else if (action < 24) underway.push(...controllers[index]!.pass(nowMs))
    else if (action < 34) deliver()
    else if (action < 38) change()
    else if (action === 38) controllers[index] = new Controller(cluster.world())
    else {
      // A port rests for longer than any write can be under way.
      underway = []
      for (const controller of controllers) controller.look(cluster)
      nowMs += restMs
    }
  }
  while (underway.length > 0) deliver()
}

describe('two controllers that both write', () => {
  it('never give one mesh port to two', () => {
    for (let seed = 1; seed <= 60; seed++) play(seed)
  })
})
