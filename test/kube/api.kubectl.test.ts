// kubectl against the API: the commands of the tour. Skipped where there is no kubectl.

import { execFile, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { expect } from 'chai'
import { type Body, backends, withApi } from '../support/api.ts'

const fromAssets = join(process.env['KUBEBUILDER_ASSETS'] ?? '', 'kubectl')
const kubectl = existsSync(fromAssets) ? fromAssets : 'kubectl'

function hasKubectl(): boolean {
  try {
    execFileSync(kubectl, ['version', '--client'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

interface Result {
  code: number
  out: string
  err: string
}

const shop = (image: string) => `
apiVersion: apps/v1
kind: Deployment
metadata:
  name: reviews
  labels: {app: reviews}
spec:
  selector: {matchLabels: {app: reviews}}
  template:
    metadata: {labels: {app: reviews}}
    spec:
      containers:
      - name: reviews
        image: ${image}
        ports: [{containerPort: 9080}]
        env:
        - {name: VERSION, value: v1}
---
apiVersion: v1
kind: Service
metadata: {name: reviews}
spec:
  selector: {app: reviews}
  ports: [{name: http, port: 9080}]
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {colour: red}
`

for (const backend of backends) {
  ;(hasKubectl() ? describe : describe.skip)(`API and kubectl (${backend.name})`, () => {
    const api = withApi(backend)
    let namespace = ''

    beforeEach(async () => {
      namespace = await api().namespace()
    })

    const flags = () => [
      '--kubeconfig',
      api().kubeconfig,
      '--namespace',
      namespace,
      '--cache-dir',
      `${api().kubeconfig}-cache`,
    ]

    function run(args: string, input = ''): Promise<Result> {
      return new Promise((resolve) => {
        const child = execFile(kubectl, [...flags(), ...args.split(' ')], (error, out, err) => {
          resolve({ code: error === null ? 0 : Number(error.code), out, err })
        })
        child.stdin?.end(input)
      })
    }

    async function succeed(args: string, input = ''): Promise<string> {
      const { code, out, err } = await run(args, input)
      expect(code, `kubectl ${args}: ${err}`).to.equal(0)
      return out
    }

    const lines = (out: string) => out.trim().split('\n')
    const words = (line: string | undefined) => (line ?? '').split(/\s{2,}/).map((word) => word.trim())

    it('applies, and applies again only what changed', async () => {
      expect(lines(await succeed('apply -f -', shop('shop:1')))).to.deep.equal([
        'deployment.apps/reviews created',
        'service/reviews created',
        'configmap/settings created',
      ])
      expect(lines(await succeed('apply -f -', shop('shop:1')))).to.deep.equal([
        'deployment.apps/reviews unchanged',
        'service/reviews unchanged',
        'configmap/settings unchanged',
      ])
      expect(lines(await succeed('apply -f -', shop('shop:2')))).to.deep.equal([
        'deployment.apps/reviews configured',
        'service/reviews unchanged',
        'configmap/settings unchanged',
      ])
      const image = await succeed('get deployment reviews -o jsonpath={.spec.template.spec.containers[0].image}')
      expect(image).to.equal('shop:2')
    })

    it('refuses a manifest with a field that is not there, naming it', async () => {
      const { code, err } = await run(
        'apply -f -',
        shop('shop:1').replace('targetPort', 'port').replace('env:', 'envs:'),
      )
      expect(code).to.equal(1)
      expect(err).to.contain('unknown field "spec.template.spec.containers[0].envs"')
    })

    it('applies on the server, minding other managers', async () => {
      await succeed('apply --server-side -f -', shop('shop:1'))
      const second = await run('apply --server-side --field-manager=other -f -', shop('shop:2'))
      expect(second.code).to.equal(1)
      expect(second.err).to.contain('conflict with "kubectl": .spec.template.spec.containers[name="reviews"].image')
      await succeed('apply --server-side --field-manager=other --force-conflicts -f -', shop('shop:2'))
      const wide = lines(await succeed('get deployment reviews -o wide'))
      expect(words(wide[1])).to.include('shop:2')
    })

    it('moves on from client-side to server-side apply', async () => {
      await succeed('apply -f -', shop('shop:1'))
      await succeed('apply --server-side -f -', shop('shop:2'))
      expect(await succeed('get configmap settings -o jsonpath={.data.colour}')).to.equal('red')
    })

    it('shows what a manifest would change', async () => {
      await succeed('apply -f -', shop('shop:1'))
      const { code, out } = await run('diff -f -', shop('shop:2'))
      expect(code).to.equal(1)
      expect(out).to.match(/^-.*image: shop:1$/m)
      expect(out).to.match(/^\+.*image: shop:2$/m)
    })

    it('prints tables, wide ones, and other forms', async () => {
      await succeed('apply -f -', shop('shop:1'))
      const [header, row] = lines(await succeed('get deployments'))
      expect(words(header)).to.deep.equal(['NAME', 'READY', 'UP-TO-DATE', 'AVAILABLE', 'AGE'])
      expect(words(row).slice(0, 4)).to.deep.equal(['reviews', '0/1', '0', '0'])
      const services = lines(await succeed('get svc -o wide'))
      expect(words(services[0])).to.deep.equal([
        'NAME',
        'TYPE',
        'CLUSTER-IP',
        'EXTERNAL-IP',
        'PORT(S)',
        'AGE',
        'SELECTOR',
      ])
      expect(await succeed('get svc reviews -o yaml')).to.match(/^apiVersion: v1$/m)
      expect(JSON.parse(await succeed('get deploy,svc -o json')).items).to.have.length(2)
      expect(await succeed('get all -o name')).to.equal('service/reviews\ndeployment.apps/reviews\n')
      expect(await succeed('get deploy -l app=reviews,!x -o name')).to.equal('deployment.apps/reviews\n')
      expect((await run('get pods')).err).to.contain('No resources found')
      expect((await run('get svc none')).err).to.equal('Error from server (NotFound): services "none" not found\n')
    })

    it('scales, labels, annotates and patches', async () => {
      await succeed('apply -f -', shop('shop:1'))
      expect(await succeed('scale deployment reviews --replicas=3')).to.equal('deployment.apps/reviews scaled\n')
      await succeed('label service reviews weft.dev/mesh=enabled')
      await succeed('annotate service reviews weft.dev/address=dedicated')
      await succeed('patch deployment reviews -p {"spec":{"minReadySeconds":1}}')
      await succeed('patch svc reviews --type=json -p [{"op":"replace","path":"/spec/ports/0/port","value":9081}]')
      await succeed('set image deployment/reviews reviews=shop:3')
      const deployment = JSON.parse(await succeed('get deployment reviews -o json'))
      expect(deployment.spec).to.include({ replicas: 3, minReadySeconds: 1 })
      expect(deployment.metadata.generation).to.equal(4)
      expect(deployment.spec.template.spec.containers[0]).to.include({ image: 'shop:3' })
      const service = JSON.parse(await succeed('get svc reviews -o json'))
      expect(service.metadata.labels).to.deep.equal({ 'weft.dev/mesh': 'enabled' })
      expect(service.metadata.annotations).to.include({ 'weft.dev/address': 'dedicated' })
      expect(service.spec.ports[0].port).to.equal(9081)
      await succeed('label service reviews weft.dev/mesh-')
      expect(await succeed('get svc -l weft.dev/mesh -o name')).to.equal('')
    })

    it('waits for a rollout and for conditions', async () => {
      await succeed('apply -f -', shop('shop:1'))
      const path = `/apis/apps/v1/namespaces/${namespace}/deployments/reviews`
      const waiting = run('rollout status deployment/reviews --timeout=15s')
      const { body: deployment } = await api().request('GET', path)
      const conditions = [{ type: 'Available', status: 'True', reason: 'MinimumReplicasAvailable', message: '' }]
      const status = {
        observedGeneration: 1,
        replicas: 1,
        updatedReplicas: 1,
        readyReplicas: 1,
        availableReplicas: 1,
        conditions,
      }
      await api().request('PUT', `${path}/status`, { ...deployment, status })
      const { code, out } = await waiting
      expect(code).to.equal(0)
      expect(out).to.contain('deployment "reviews" successfully rolled out')
      await succeed('wait --for=condition=Available deployment/reviews --timeout=5s')
    })

    it('follows changes with -w', async () => {
      await succeed('apply -f -', shop('shop:1'))
      const args = ['get', 'configmaps', 'settings', '-w', '--output-watch-events']
      const child = spawn(kubectl, [...flags(), ...args])
      const exited = once(child, 'exit')
      const output = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
      const next = async () =>
        words((await output.next()).value)
          .slice(0, 3)
          .join(' ')
      try {
        expect(await next()).to.equal('EVENT NAME DATA')
        expect(await next()).to.equal('ADDED settings 1')
        await succeed('patch configmap settings --type=merge -p {"data":{"size":"small"}}')
        expect(await next()).to.equal('MODIFIED settings 2')
        await succeed('delete configmap settings')
        expect(await next()).to.equal('DELETED settings 2')
      } finally {
        child.kill()
        await exited
      }
    })

    it('describes, with events', async () => {
      await succeed('apply -f -', shop('shop:1'))
      const { body: service } = await api().request('GET', `/api/v1/namespaces/${namespace}/services/reviews`)
      const now = new Date().toISOString().replace(/\.\d+/, '')
      await api().request('POST', `/api/v1/namespaces/${namespace}/events`, {
        apiVersion: 'v1',
        kind: 'Event',
        metadata: { generateName: 'reviews.' },
        involvedObject: { apiVersion: 'v1', kind: 'Service', name: 'reviews', namespace, uid: service.metadata.uid },
        reason: 'NameTaken',
        message: 'the name reviews-mesh is taken',
        type: 'Warning',
        source: { component: 'weft-controller' },
        firstTimestamp: now,
        lastTimestamp: now,
        count: 1,
      })
      const described = await succeed('describe service reviews')
      expect(described).to.match(/^Selector: +app=reviews$/m)
      expect(described).to.contain(service.spec.clusterIP)
      expect(described).to.match(/Warning +NameTaken +.*weft-controller +the name reviews-mesh is taken/)
      expect(await succeed('describe deployment reviews')).to.match(/^StrategyType: +RollingUpdate$/m)
      expect(await succeed('events --for service/reviews')).to.contain('the name reviews-mesh is taken')
      const [header, row] = lines(await succeed('get events'))
      expect(words(header)).to.deep.equal(['LAST SEEN', 'TYPE', 'REASON', 'OBJECT', 'MESSAGE'])
      expect(words(row).slice(1, 4)).to.deep.equal(['Warning', 'NameTaken', 'service/reviews'])
      expect(await succeed(`describe namespace ${namespace}`)).to.match(/^Status: +Active$/m)
    })

    it('deletes and waits until it is done', async () => {
      await succeed('apply -f -', shop('shop:1'))
      const out = await succeed('delete -f - --timeout=10s', shop('shop:1'))
      expect(out).to.contain('configmap "settings" deleted')
      expect(await succeed('get deploy,svc -o name')).to.equal('')
    })

    it('knows kinds by their short names, and their fields', async () => {
      const resources = await succeed('api-resources --api-group=apps')
      expect(resources).to.match(/^deployments +deploy +apps\/v1 +true +Deployment$/m)
      const explained = await succeed('explain service.spec.ports.targetPort')
      expect(explained).to.match(/^KIND: +Service$/m)
      const version = JSON.parse(await succeed('version -o json')) as Body
      expect(version.serverVersion.major).to.equal('1')
    })

    it('creates what needs no manifest', async () => {
      expect(await succeed('create deployment hello --image=hello:1')).to.equal('deployment.apps/hello created\n')
      await succeed('create configmap c --from-literal=a=b')
      await succeed('create secret generic s --from-literal=a=b')
      await succeed('create serviceaccount account')
      await succeed(`create namespace ${namespace}-more`)
      expect(await succeed('get configmap c -o jsonpath={.data.a}')).to.equal('b')
      expect(await succeed('get secret s -o jsonpath={.type}{.data.a}')).to.equal('OpaqueYg==')
      expect(await succeed('create token account --audience=weft')).to.match(/^[\w-]+\.[\w-]+\.[\w-]+$/m)
      expect(await succeed('auth can-i get pods')).to.equal('yes\n')
    })
  })
}
