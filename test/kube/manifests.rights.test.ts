// What controller and agents may do with manifests/base applied, asked of a real API server in their names: this and no more.

import { join } from 'node:path'
import { expect } from 'chai'
import { root } from '../../scripts/local/environment.ts'
import { type Manifest, readManifests } from '../../scripts/local/manifests.ts'
import type { Answer } from '../support/api.ts'
import { eachCluster } from '../support/kubecluster.ts'
import { until } from '../support/until.ts'

interface Rule {
  verbs: string[]
  apiGroups: string[]
  resources: string[]
  resourceNames?: string[]
}

const kinds = ['ClusterRole', 'ClusterRoleBinding', 'Role', 'RoleBinding', 'ValidatingAdmissionPolicy']
const smi = [
  'trafficsplits.split',
  'traffictargets.access',
  'httproutegroups.specs',
  'tcproutes.specs',
  'udproutes.specs',
]

/** `VERBS RESOURCE[.GROUP][=NAME]`, of the controller in every namespace … */
const everywhere = [
  ...['namespaces', 'nodes', 'pods', 'serviceaccounts', 'endpointslices.discovery.k8s.io'].map(
    (each) => `list,watch ${each}`,
  ),
  'create,delete,list,update,watch services',
  'create,delete,list,update,watch networkpolicies.networking.k8s.io',
  'create,get,update events',
  ...smi.map((each) => `list,watch ${each}.smi-spec.io`),
  'get,update validatingwebhookconfigurations.admissionregistration.k8s.io=weft-smi',
  'create tokenreviews.authentication.k8s.io',
]

/** … and in its own. */
const athome = [
  'create leases.coordination.k8s.io',
  'get,update leases.coordination.k8s.io=weft-controller',
  'create secrets',
  'create configmaps',
  ...['secrets=weft-root', 'secrets=weft-authority'].map((each) => `get,update ${each}`),
  ...['configmaps=weft-trust', 'configmaps=weft-rotation'].map((each) => `get,update ${each}`),
]

eachCluster(
  'rights of manifests/base',
  (cluster) => {
    let shop = ''

    /** A request in the name of an account of weft-system. */
    function as(account: string, method: string, path: string, body?: unknown): Promise<Answer> {
      const type = method === 'PATCH' ? { 'content-type': 'application/merge-patch+json' } : {}
      const user = `system:serviceaccount:weft-system:${account}`
      const headers = { 'Impersonate-User': user, 'Impersonate-Group': 'system:authenticated', ...type }
      return cluster.test.request(method, path, body, headers)
    }

    before(async () => {
      const objects = readManifests(join(root, 'manifests/base')).filter(
        ({ kind }) => kind === 'Namespace' || kinds.some((each) => kind.startsWith(each)),
      )
      for (const object of objects) {
        const { status, body } = await cluster.test.request('POST', pathOf(object), object)
        expect(status, `${object.kind} ${object.metadata.name}: ${JSON.stringify(body)}`).to.be.oneOf([201, 409])
        // Another suite may have put an older form there.
        if (status === 409 && object['rules']) {
          const type = { 'content-type': 'application/merge-patch+json' }
          await cluster.test.request(
            'PATCH',
            `${pathOf(object)}/${object.metadata.name}`,
            { rules: object['rules'] },
            type,
          )
        }
      }
      shop = await cluster.test.namespace()
      await cluster.objects.service(shop, 'reviews', 9080)
    })

    /** Everything that an account may do in a namespace and others may not. */
    async function rightsOf(account: string, namespace: string): Promise<string[]> {
      const ask = async (name: string) => {
        const review = { apiVersion: 'authorization.k8s.io/v1', kind: 'SelfSubjectRulesReview', spec: { namespace } }
        const { body } = await as(name, 'POST', '/apis/authorization.k8s.io/v1/selfsubjectrulesreviews', review)
        expect(body.status.incomplete).to.equal(false)
        return (body.status.resourceRules as Rule[]).flatMap(linesOf)
      }
      const anybody = new Set(await ask('anybody'))
      return merged((await ask(account)).filter((line) => !anybody.has(line)))
    }

    it('of the controller are those that it uses', async () => {
      const status = smi.map((each) => `patch ${each.replace('.', '/status.')}.smi-spec.io`)
      expect(await rightsOf('weft-controller', shop)).to.have.members([...everywhere, ...status])
      expect(await rightsOf('weft-controller', 'weft-system')).to.have.members([...everywhere, ...status, ...athome])
    })

    it('of agents are none', async () => {
      expect(await rightsOf('weft-agent', shop)).to.deep.equal([])
      expect(await rightsOf('weft-agent', 'weft-system')).to.deep.equal([])
    })

    for (const [what, account, method, path] of [
      ['delete a pod', 'weft-controller', 'DELETE', '/api/v1/namespaces/SHOP/pods/any'],
      ["read a user's Secret", 'weft-controller', 'GET', '/api/v1/namespaces/SHOP/secrets/any'],
      [
        'read a Secret of its own namespace that is not its own',
        'weft-controller',
        'GET',
        '/api/v1/namespaces/weft-system/secrets/any',
      ],
      ['list Secrets', 'weft-controller', 'GET', '/api/v1/secrets'],
      [
        "change a TrafficSplit's spec",
        'weft-controller',
        'PATCH',
        '/apis/split.smi-spec.io/v1alpha4/namespaces/SHOP/trafficsplits/any',
      ],
      ['make tokens', 'weft-controller', 'POST', '/api/v1/namespaces/SHOP/serviceaccounts/default/token'],
      [
        'give itself rights',
        'weft-controller',
        'PATCH',
        '/apis/rbac.authorization.k8s.io/v1/clusterroles/weft-controller',
      ],
      [
        'open its own guard',
        'weft-controller',
        'DELETE',
        '/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/weft-controller',
      ],
      ['list pods', 'weft-agent', 'GET', '/api/v1/pods'],
      ['review tokens', 'weft-agent', 'POST', '/apis/authentication.k8s.io/v1/tokenreviews'],
      ['read the root key', 'weft-agent', 'GET', '/api/v1/namespaces/weft-system/secrets/weft-authority'],
    ] as const) {
      it(`${account} must not ${what}`, async () => {
        const { status, body } = await as(
          account,
          method,
          path.replace('SHOP', shop),
          method === 'GET' ? undefined : {},
        )
        expect([status, body.reason], JSON.stringify(body)).to.deep.equal([403, 'Forbidden'])
      })
    }

    describe('with Services and NetworkPolicies', () => {
      const ours = { 'app.kubernetes.io/managed-by': 'weft' }
      const alias = (name: string, externalName = 'weft.weft-system.svc.cluster.local', labels: object = ours) => ({
        metadata: { name, namespace: shop, labels },
        spec: { type: 'ExternalName', externalName },
      })
      const services = (namespace = shop) => `/api/v1/namespaces/${namespace}/services`

      /** Policies come into force a moment after they were made. */
      before(async function () {
        this.timeout(30_000)
        const probe = () => as('weft-controller', 'POST', `${services()}?dryRun=All`, alias('probe', undefined, {}))
        await until(async () => (await probe()).status === 403, 'the guard to be in force', 20_000)
      })

      async function refused(method: string, path: string, body: unknown, message: RegExp): Promise<void> {
        const answer = await as('weft-controller', method, path, body)
        expect(answer.status, JSON.stringify(answer.body)).to.equal(403)
        expect(answer.body.message).to.match(/ValidatingAdmissionPolicy 'weft-controller'.* denied request/)
        expect(answer.body.message).to.match(message)
      }

      it('lets the controller write aliases, shadow Services and locks', async () => {
        const made = await as('weft-controller', 'POST', services(), alias('reviews-mesh'))
        expect(made.status, JSON.stringify(made.body)).to.equal(201)
        made.body.spec.externalName = 'other.weft-system.svc.cluster.local'
        const put = await as('weft-controller', 'PUT', `${services()}/reviews-mesh`, made.body)
        expect(put.status, JSON.stringify(put.body)).to.equal(200)
        expect((await as('weft-controller', 'DELETE', `${services()}/reviews-mesh`)).status).to.equal(200)
        const shadow = { metadata: { name: 'shadow-tried', labels: ours }, spec: { ports: [{ port: 80 }] } }
        const own = await as('weft-controller', 'POST', services('weft-system'), shadow)
        expect(own.status, JSON.stringify(own.body)).to.equal(201)
        expect((await as('weft-controller', 'DELETE', `${services('weft-system')}/shadow-tried`)).status).to.equal(200)
        const lock = { metadata: { name: 'lock', labels: ours }, spec: { podSelector: {} } }
        const locks = `/apis/networking.k8s.io/v1/namespaces/${shop}/networkpolicies`
        expect((await as('weft-controller', 'POST', locks, lock)).status).to.equal(201)
        expect((await as('weft-controller', 'DELETE', `${locks}/lock`)).status).to.equal(200)
      })

      it('lets it put right what somebody took its label off', async () => {
        const { body } = await cluster.test.request('GET', `${services()}/reviews`)
        const ownerReferences = [{ apiVersion: 'v1', kind: 'Service', name: 'reviews', uid: body.metadata.uid }]
        const { metadata, spec } = alias('reviews-mesh', undefined, {})
        const stripped = { metadata: { ...metadata, ownerReferences }, spec }
        const { body: made } = await cluster.test.request('POST', services(), stripped)
        made.metadata.labels = ours
        const put = await as('weft-controller', 'PUT', `${services()}/reviews-mesh`, made)
        expect(put.status, JSON.stringify(put.body)).to.equal(200)
        expect((await as('weft-controller', 'DELETE', `${services()}/reviews-mesh`)).status).to.equal(200)
        const annotations = { 'weft.dev/uid': 'x' }
        const shadow = { metadata: { name: 'shadow-stripped', annotations }, spec: { ports: [{ port: 80 }] } }
        await cluster.test.request('POST', services('weft-system'), shadow)
        const gone = await as('weft-controller', 'DELETE', `${services('weft-system')}/shadow-stripped`)
        expect(gone.status, JSON.stringify(gone.body)).to.equal(200)
      })

      it("keeps it from a user's Service, even if it calls it its own", async () => {
        const { body } = await cluster.test.request('GET', `${services()}/reviews`)
        const only = /writes only Services and NetworkPolicies with the label/
        await refused(
          'PUT',
          `${services()}/reviews`,
          { ...body, spec: { ...body.spec, selector: { app: 'evil' } } },
          only,
        )
        const labelled = { ...body, metadata: { ...body.metadata, labels: ours } }
        await refused('PUT', `${services()}/reviews`, labelled, only)
        await refused('DELETE', `${services()}/reviews`, undefined, only)
        const policy = { metadata: { name: 'users' }, spec: { podSelector: {} } }
        const policies = `/apis/networking.k8s.io/v1/namespaces/${shop}/networkpolicies`
        expect((await cluster.test.request('POST', policies, policy)).status).to.equal(201)
        await refused('DELETE', `${policies}/users`, undefined, only)
      })

      it("keeps it from leading a namespace's callers elsewhere", async () => {
        const only = /outside of weft-system, weft-controller writes only aliases/
        await refused('POST', services(), alias('evil', 'evil.example.test'), only)
        await refused('POST', services(), alias('evil', 'weft.weft-system.svc.cluster.local.example.test'), only)
        const selecting = {
          metadata: { name: 'evil', labels: ours },
          spec: { ports: [{ port: 80 }], selector: { app: 'evil' } },
        }
        await refused('POST', services(), selecting, only)
      })

      it('is about nobody else', async () => {
        const { status } = await cluster.test.request(
          'POST',
          `${services()}?dryRun=All`,
          alias('own', 'example.test', {}),
        )
        expect(status).to.equal(201)
      })
    })
  },
  { only: 'real' },
)

/** One line for each verb on each resource. */
function linesOf({ verbs, apiGroups, resources, resourceNames = [''] }: Rule): string[] {
  return apiGroups.flatMap((group) =>
    resources.flatMap((resource) =>
      resourceNames.flatMap((name) =>
        verbs.map((verb) => `${verb} ${resource}${group === '' ? '' : `.${group}`}${name === '' ? '' : `=${name}`}`),
      ),
    ),
  )
}

/** The verbs of one resource in one line. */
function merged(lines: string[]): string[] {
  const byResource = Map.groupBy(lines, (line) => line.split(' ')[1]!)
  return [...byResource].map(
    ([resource, all]) =>
      `${all
        .map((line) => line.split(' ')[0])
        .sort()
        .join(',')} ${resource}`,
  )
}

function pathOf({ apiVersion, kind, metadata }: Manifest): string {
  const group = apiVersion === 'v1' ? '/api/v1' : `/apis/${apiVersion}`
  const scope = metadata.namespace === undefined ? '' : `/namespaces/${metadata.namespace}`
  const lower = kind.toLowerCase()
  return `${group}${scope}/${lower.endsWith('y') ? `${lower.slice(0, -1)}ies` : `${lower}s`}`
}
