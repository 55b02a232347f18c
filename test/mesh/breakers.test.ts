// Breakers in a whole mesh: endpoints that fail or hang are out within seconds, and come back by themselves.

import { expect } from 'chai'
import type { LocalMesh } from '../../scripts/local/mesh.ts'
import { isReady, type Pod } from '../../scripts/local/objects.ts'
import { type Load, startLoad } from '../support/load.ts'
import { startTestMesh } from '../support/localmesh.ts'
import { until } from '../support/until.ts'

const manifests = `
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {weft.dev/mesh: enabled}}
---
apiVersion: v1
kind: Service
metadata: {name: faulty, namespace: shop}
spec: {selector: {app: faulty}, ports: [{name: http, port: 9080}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: faulty, namespace: shop}
spec:
  replicas: 4
  selector: {matchLabels: {app: faulty}}
  template:
    metadata: {labels: {app: faulty}}
    spec:
      containers:
        - name: main
          image: none
          command: [node, test/support/faulty.ts]
          startupProbe: {httpGet: {path: /healthz, port: 9080}, periodSeconds: 1, failureThreshold: 60}
`

describe('mesh: breakers', function () {
  this.timeout(60_000)
  let mesh: LocalMesh
  let load: Load
  /** Of each response: when, and from which pod; of failures the time alone. */
  let history: { at: number; pod: string }[]

  before(async () => {
    mesh = await startTestMesh({
      demo: false,
      adjust: (object) => {
        if (object.kind !== 'DaemonSet') return object
        const copy = structuredClone(object)
        const { template } = copy.spec as { template: { spec: { containers: { args: string[] }[] } } }
        template.spec.containers[0]!.args.push('--first-byte-timeout=1s')
        return copy
      },
    })
    mesh.apply(manifests)
    await mesh.ready()
    await until(() => mesh.clusterIP('weft-system', 'weft') !== undefined, 'the mesh Service')
  })
  beforeEach(async () => {
    history = []
    load = startLoad({
      host: mesh.clusterIP('weft-system', 'weft')!,
      port: 9080,
      headers: { host: 'faulty-mesh.shop' },
      from: pods()[0]!.status!.podIP!,
      callers: 16,
      pauseMs: 5,
      onResponse: (response) => history.push({ at: performance.now(), pod: String(response.headers['x-pod']) }),
    })
    await until(() => podsSince(performance.now() - 1000).size === 4, 'answers from all four pods', 30_000)
  })
  afterEach(() => load.stop())
  after(() => mesh?.stop())

  function pods(): Pod[] {
    return mesh.pods('shop', { app: 'faulty' }).filter(isReady)
  }

  function podsSince(time: number): Set<string> {
    return new Set(history.filter(({ at }) => at >= time).map(({ pod }) => pod))
  }

  async function tell(pod: Pod, mode: string): Promise<void> {
    await (await fetch(`http://${pod.status!.podIP}:9080/fault/${mode}`)).text()
  }

  for (const mode of ['500', 'hang']) {
    it(`take half of the endpoints out when they ${mode === 'hang' ? 'hang' : 'answer 500'}, and let them back when they are well`, async () => {
      const bad = pods().slice(0, 2)
      await Promise.all(bad.map((pod) => tell(pod, mode)))
      const broken = performance.now()
      await until(() => performance.now() - broken > 3000, 'three seconds')
      const [good, failed] = [load.succeeded(), load.failures.length]
      await until(() => load.succeeded() > good + 1000, 'a thousand more responses', 20_000)
      const failures = load.failures.length - failed
      const total = failures + load.succeeded() - good
      expect(failures / total, load.summary()).to.be.below(0.02)
      await Promise.all(bad.map((pod) => tell(pod, 'none')))
      const healed = performance.now()
      await until(() => podsSince(healed).size === 4, 'the return of both', 30_000)
    })
  }
})
