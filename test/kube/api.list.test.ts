// Lists: selectors, pages, and the forms that kubectl and metadata clients ask for.

import { expect } from 'chai'
import { type Body, backends, withApi } from '../support/api.ts'

const table = { accept: 'application/json;as=Table;v=v1;g=meta.k8s.io,application/json' }

/** The status of a container that ended 20 and a half minutes ago, counted from now, and runs again. */
function restarted(): Body {
  const finishedAt = `${new Date(Date.now() - 1_230_000).toISOString().slice(0, 19)}Z`
  const lastState = { terminated: { exitCode: 1, finishedAt } }
  return { ready: true, restartCount: 2, state: { running: {} }, lastState }
}

for (const backend of backends) {
  describe(`API lists (${backend.name})`, () => {
    const api = withApi(backend)
    let root = ''

    beforeEach(async () => {
      root = `/api/v1/namespaces/${await api().namespace()}`
    })

    async function create(kind: string, object: Body): Promise<Body> {
      const { status, body } = await api().request('POST', `${root}/${kind}`, { apiVersion: 'v1', ...object })
      expect(status, body.message).to.equal(201)
      return body
    }

    async function createMaps(...names: string[]): Promise<void> {
      for (const [i, name] of names.entries()) {
        const labels = { number: String(i), parity: i % 2 === 0 ? 'even' : 'odd', ...(i === 0 && { first: '' }) }
        await create('configmaps', { kind: 'ConfigMap', metadata: { name, labels } })
      }
    }

    const names = (list: Body): string[] => list.items.map(({ metadata }: Body) => metadata.name)

    it('lists in the order of names, with a version to watch from', async () => {
      await createMaps('b', 'a', 'c')
      const { status, body } = await api().request('GET', `${root}/configmaps`)
      expect(status).to.equal(200)
      expect(body).to.include({ kind: 'ConfigMapList', apiVersion: 'v1' })
      expect(names(body).filter((name) => name !== 'kube-root-ca.crt')).to.deep.equal(['a', 'b', 'c'])
      expect(body.items[0]).not.to.have.property('kind')
      expect(body.metadata.resourceVersion).to.match(/^\d+$/)
    })

    for (const [selector, expected] of Object.entries({
      'parity=even': ['a', 'c'],
      'parity==even,number!=0': ['c'],
      'parity!=even,number': ['b', 'd'],
      'number in (1, 2)': ['b', 'c'],
      'number notin (1,2),number': ['a', 'd'],
      first: ['a'],
      '!first,number': ['b', 'c', 'd'],
      'first=': ['a'],
    })) {
      it(`selects by labels: ${selector}`, async () => {
        await createMaps('a', 'b', 'c', 'd')
        const query = new URLSearchParams({ labelSelector: selector })
        const { body } = await api().request('GET', `${root}/configmaps?${query}`)
        expect(names(body)).to.deep.equal(expected)
      })
    }

    it('refuses selectors that it can not read, and fields that can not be selected by', async () => {
      const bad = await api().request('GET', `${root}/configmaps?labelSelector=${encodeURIComponent('a in b')}`)
      expect(bad.status).to.equal(400)
      const field = await api().request('GET', `${root}/configmaps?fieldSelector=data.x%3Dy`)
      expect(field.status).to.equal(400)
      expect(field.body.message).to.contain('"data.x" is not a known field selector: only')
    })

    it('selects pods by node and phase', async () => {
      for (const [name, nodeName] of [
        ['a', 'node1'],
        ['b', 'node2'],
      ]) {
        const spec = { nodeName, containers: [{ name: 'c', image: 'i' }] }
        await create('pods', { kind: 'Pod', metadata: { name }, spec })
      }
      const select = async (fieldSelector: string) => {
        const { body } = await api().request('GET', `${root}/pods?${new URLSearchParams({ fieldSelector })}`)
        return names(body)
      }
      expect(await select('spec.nodeName=node1')).to.deep.equal(['a'])
      expect(await select('spec.nodeName=node1,status.phase!=Pending')).to.deep.equal([])
      expect(await select('spec.nodeName!=node1,status.phase=Pending')).to.deep.equal(['b'])
      expect(await select('metadata.name=b')).to.deep.equal(['b'])
    })

    it('gives a list in pages, all from one moment', async () => {
      await createMaps('a', 'b', 'c', 'd', 'e')
      const base = `${root}/configmaps?labelSelector=number&limit=2`
      const first = (await api().request('GET', base)).body
      expect(names(first)).to.deep.equal(['a', 'b'])
      await api().request('DELETE', `${root}/configmaps/c`)
      const next = (page: Body) => `${base}&continue=${encodeURIComponent(page.metadata.continue)}`
      const second = (await api().request('GET', next(first))).body
      expect(names(second)).to.deep.equal(['c', 'd'])
      expect(second.metadata.resourceVersion).to.equal(first.metadata.resourceVersion)
      const third = (await api().request('GET', next(second))).body
      expect(names(third)).to.deep.equal(['e'])
      expect(third.metadata.continue ?? '').to.equal('')
      expect((await api().request('GET', `${base}&continue=garbage`)).status).to.equal(400)
    })

    it('asks a client that has seen a later version to wait', async () => {
      const { status, body } = await api().request('GET', `${root}/configmaps?resourceVersion=99999999`)
      expect(status).to.equal(504)
      expect(body.reason).to.equal('Timeout')
      expect(body.details.causes[0].reason).to.equal('ResourceVersionTooLarge')
    }).timeout(20_000)

    it('lists over all namespaces', async () => {
      await createMaps('only-here')
      const { body } = await api().request('GET', '/api/v1/configmaps?fieldSelector=metadata.name%3Donly-here')
      const namespace = root.split('/').at(-1)
      expect(body.items.map(({ metadata }: Body) => metadata.namespace)).to.include(namespace)
    })

    it('prints pods', async () => {
      const spec = { nodeName: 'node1', containers: [{ name: 'c', image: 'i' }] }
      const pod = await create('pods', { kind: 'Pod', metadata: { name: 'p' }, spec })
      const containerStatuses = [
        { name: 'c', image: 'i', imageID: '', ready: true, restartCount: 0, state: { running: { startedAt: null } } },
      ]
      const ready = [{ type: 'Ready', status: 'True' }]
      const status = {
        phase: 'Running',
        podIP: '10.1.2.3',
        podIPs: [{ ip: '10.1.2.3' }],
        containerStatuses,
        conditions: ready,
      }
      await api().request('PUT', `${root}/pods/p/status`, { ...pod, status })
      const { body } = await api().request('GET', `${root}/pods`, undefined, table)
      expect(body.kind).to.equal('Table')
      const columns = body.columnDefinitions.map(({ name, priority }: Body) => `${name} ${priority}`)
      expect(columns).to.deep.equal([
        'Name 0',
        'Ready 0',
        'Status 0',
        'Restarts 0',
        'Age 0',
        'IP 1',
        'Node 1',
        'Nominated Node 1',
        'Readiness Gates 1',
      ])
      const { cells, object } = body.rows[0]
      expect([cells[0], cells[1], cells[2], String(cells[3]), ...cells.slice(5)]).to.deep.equal([
        'p',
        '1/1',
        'Running',
        '0',
        '10.1.2.3',
        'node1',
        '<none>',
        '<none>',
      ])
      expect(cells[4]).to.match(/^\d+s$/)
      expect(object.kind).to.equal('PartialObjectMetadata')
      expect(object.metadata.name).to.equal('p')
    })

    for (const [what, status, expected] of [
      [
        'a container that waits',
        { state: { waiting: { reason: 'CrashLoopBackOff' } } },
        ['0/1', 'CrashLoopBackOff', '0'],
      ],
      ['one that has failed', { state: { terminated: { exitCode: 3, reason: 'Error' } } }, ['0/1', 'Error', '0']],
      ['one that ended without a reason', { state: { terminated: { exitCode: 3 } } }, ['0/1', 'ExitCode:3', '0']],
      ['one that was restarted', { ready: true, restartCount: 2, state: { running: {} } }, ['1/1', 'Running', '2']],
      ['one that was restarted after it had run', restarted, ['1/1', 'Running', '2 (20m ago)']],
    ] as [string, Body | (() => Body), string[]][]) {
      it(`prints a pod with ${what}`, async () => {
        const spec = { containers: [{ name: 'c', image: 'i' }] }
        const pod = await create('pods', { kind: 'Pod', metadata: { name: 'p' }, spec })
        const given = typeof status === 'function' ? status() : status
        const container = { name: 'c', image: 'i', imageID: '', ready: false, restartCount: 0, ...given }
        const answer = await api().request('PUT', `${root}/pods/p/status`, {
          ...pod,
          status: { phase: 'Running', containerStatuses: [container] },
        })
        expect(answer.status, answer.body.message).to.equal(200)
        const { body } = await api().request('GET', `${root}/pods/p`, undefined, table)
        expect(body.rows[0].cells.slice(1, 4).map(String)).to.deep.equal(expected)
      })
    }

    it('prints Services, Deployments and EndpointSlices', async () => {
      const spec = { selector: { app: 'a' }, ports: [{ port: 80 }, { port: 443, name: 'x' }] }
      spec.ports[0] = { port: 80, name: 'http' } as Body
      const service = await create('services', { kind: 'Service', metadata: { name: 's' }, spec })
      await create('services', {
        kind: 'Service',
        metadata: { name: 't' },
        spec: { type: 'ExternalName', externalName: 'example.com' },
      })
      const rows = async (path: string) => {
        const { body } = await api().request('GET', path, undefined, table)
        return body.rows.map(({ cells }: Body) => cells)
      }
      const services = await rows(`${root}/services`)
      expect(services[0].toSpliced(5, 1)).to.deep.equal([
        's',
        'ClusterIP',
        service.spec.clusterIP,
        '<none>',
        '80/TCP,443/TCP',
        'app=a',
      ])
      expect(services[1].toSpliced(5, 1)).to.deep.equal([
        't',
        'ExternalName',
        '<none>',
        'example.com',
        '<none>',
        '<none>',
      ])
      const apps = root.replace('/api/v1', '/apis/apps/v1')
      const template = { metadata: { labels: { app: 'a' } }, spec: { containers: [{ name: 'c', image: 'i:1' }] } }
      await api().request('POST', `${apps}/deployments`, {
        apiVersion: 'apps/v1',
        kind: 'Deployment',
        metadata: { name: 'd' },
        spec: { replicas: 2, selector: { matchLabels: { app: 'a' } }, template },
      })
      const [deployment] = await rows(`${apps}/deployments`)
      expect(deployment.toSpliced(4, 1)).to.deep.equal(['d', '0/2', 0, 0, 'c', 'i:1', 'app=a'])
      const discovery = root.replace('/api/v1', '/apis/discovery.k8s.io/v1')
      await api().request('POST', `${discovery}/endpointslices`, {
        apiVersion: 'discovery.k8s.io/v1',
        kind: 'EndpointSlice',
        metadata: { name: 'e' },
        addressType: 'IPv4',
        endpoints: [1, 2, 3, 4].map((i) => ({ addresses: [`10.0.0.${i}`] })),
        ports: [{ port: 80 }],
      })
      const [slice] = await rows(`${discovery}/endpointslices`)
      expect(slice.slice(0, 4)).to.deep.equal(['e', 'IPv4', '80', '10.0.0.1,10.0.0.2,10.0.0.3 + 1 more...'])
    })

    it('prints the other kinds under the columns that people know', async () => {
      const columns = async (path: string) => {
        const { body } = await api().request('GET', path, undefined, table)
        return body.columnDefinitions.map(({ name, priority }: Body) => (priority === 0 ? name : `(${name})`)).join()
      }
      const expected: Record<string, string> = {
        '/api/v1/namespaces': 'Name,Status,Age',
        '/api/v1/nodes':
          'Name,Status,Roles,Age,Version,(Internal-IP),(External-IP),(OS-Image),(Kernel-Version),(Container-Runtime)',
        '/api/v1/serviceaccounts': 'Name,Secrets,Age',
        '/api/v1/secrets': 'Name,Type,Data,Age',
        '/api/v1/events': 'Last Seen,Type,Reason,Object,(Subobject),(Source),Message,(First Seen),(Count),(Name)',
        '/apis/apps/v1/replicasets': 'Name,Desired,Current,Ready,Age,(Containers),(Images),(Selector)',
        '/apis/apps/v1/daemonsets':
          'Name,Desired,Current,Ready,Up-to-date,Available,Node Selector,Age,(Containers),(Images),(Selector)',
        '/apis/coordination.k8s.io/v1/leases': 'Name,Holder,Age',
        '/apis/apiextensions.k8s.io/v1/customresourcedefinitions': 'Name,Created At',
        '/apis/rbac.authorization.k8s.io/v1/clusterroles': 'Name,Created At',
        '/apis/rbac.authorization.k8s.io/v1/clusterrolebindings': 'Name,Role,Age,(Users),(Groups),(ServiceAccounts)',
        '/apis/networking.k8s.io/v1/networkpolicies': 'Name,Pod-Selector,Age',
        '/apis/policy/v1/poddisruptionbudgets': 'Name,Min Available,Max Unavailable,Allowed Disruptions,Age',
      }
      for (const [path, names] of Object.entries(expected)) expect(await columns(path), path).to.equal(names)
    })

    it('gives metadata alone to those who ask for it', async () => {
      await createMaps('a')
      const accept = 'application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io'
      const { body } = await api().request('GET', `${root}/configmaps?labelSelector=first`, undefined, { accept })
      expect(body.kind).to.equal('PartialObjectMetadataList')
      expect(body.items[0].metadata.name).to.equal('a')
      expect(body.items[0]).not.to.have.property('data')
      expect((await api().request('GET', `${root}/configmaps`, undefined, { accept: 'text/html' })).status).to.equal(
        406,
      )
    })
  })
}
