// The lists of agents and of Services: what is in them, and how they print.

import { expect } from 'chai'
import { type AgentFacts, formatAgents, type ReadPage, readAgents } from '../../../controller/cli/agents.ts'
import { formatAddresses, listAddresses } from '../../../controller/cli/endpoints.ts'
import { isKubectls } from '../../../controller/cli/install/apply.ts'
import { distanceFault } from '../../../controller/cli/own.ts'
import { shortDuration, tableOf } from '../../../controller/cli/table.ts'
import type { Api } from '../../../controller/observe/api.ts'
import { defaultSettings } from '../../../controller/resolve/settings.ts'
import { nowMs, passOf, shop, worldOf } from '../../support/world.ts'

const hour = 3_600_000

function podOf(name: string, node: string, isReady = true) {
  return {
    metadata: { name },
    spec: { nodeName: node, containers: [{ image: 'weft:1' }] },
    status: { conditions: [{ type: 'Ready', status: isReady ? 'True' : 'False' }] },
  }
}

/** An API server that knows only these pods. */
function apiWith(agents: object[], controllers: object[]): Api {
  const request = async (_method: string, _path: string, options?: { query?: { labelSelector?: string } }) => ({
    items: options?.query?.labelSelector?.endsWith('weft-agent') ? agents : controllers,
  })
  return { request } as unknown as Api
}

const metrics = '# TYPE weft_build_info gauge\nweft_build_info{version="0.1.0",node_version="26.10.0"} 1\n'
const identities = (...expires: number[]) =>
  JSON.stringify({ trouble: '', accounts: expires.map((at) => ({ account: 'a/b', expires: at })) })
const told = (pod: string, change: object) => ({
  node: 'n',
  pod,
  isConnected: true,
  contract: 1,
  sent: 'v2',
  applied: 'v2',
  error: null,
  lagMs: 0,
  ...change,
})

describe('the list of agents', () => {
  it('puts together what the cluster, the controllers and the agents say', async () => {
    const agents = [
      podOf('agent-2', 'n2'),
      podOf('agent-1', 'n1'),
      podOf('agent-3', 'n3', false),
      podOf('agent-4', 'n4'),
    ]
    const read: ReadPage = async ({ name }, path) => {
      if (path === '/debug/agents') {
        // The replica that an agent is connected to, and the one that it reports to, need not be the same.
        return name === 'controller-1'
          ? JSON.stringify([told('agent-1', { applied: 'v1' }), told('agent-2', { applied: 'v1', lagMs: 65_000 })])
          : JSON.stringify([told('agent-1', { isConnected: false, sent: '' })])
      }
      if (name === 'agent-4') throw new Error('port 15000 of pod weft-system/agent-4: forbidden')
      return path === '/metrics' ? metrics : identities(nowMs + 12 * hour, nowMs + 3 * hour, 0)
    }
    const facts = await readAgents(
      apiWith(agents, [podOf('controller-1', 'n1'), podOf('controller-2', 'n2')]),
      read,
      'weft-system',
    )
    expect(facts.map(({ node, snapshot, lagMs }) => [node, snapshot, lagMs])).to.deep.equal([
      ['n1', 'current', 0],
      ['n2', 'behind', 65_000],
      ['n3', 'unconnected', 0],
      ['n4', 'unconnected', 0],
    ])
    expect(facts[0]).to.deep.include({ version: '0.1.0', certificates: 2, expires: nowMs + 3 * hour, trouble: '' })
    expect(facts[2]?.trouble).to.equal('it is not ready')
    expect(facts[3]?.trouble).to.include('forbidden')
    const [head, first, second] = formatAgents(facts, nowMs, 'table').split('\n')
    expect(head).to.match(/^NODE +POD +READY +VERSION +IMAGE +SNAPSHOT +CONTRACT +CERTIFICATES +TROUBLE$/)
    expect(first).to.match(/^n1 +agent-1 +yes +0\.1\.0 +weft:1 +current +1 +2, 3h left$/)
    expect(second).to.match(/behind 1m5s/)
    expect((JSON.parse(formatAgents(facts, nowMs, 'json')) as AgentFacts[])[0]?.snapshot).to.equal('current')
  })

  it('knows when no controller could be asked, and what was refused', async () => {
    const mute: ReadPage = () => Promise.reject(new Error('no'))
    const [silent] = await readAgents(apiWith([podOf('agent-1', 'n1')], [podOf('c', 'n1')]), mute, 'weft-system')
    expect(silent?.snapshot).to.equal('unknown')
    const refusing: ReadPage = async (_pod, path) =>
      path === '/debug/agents'
        ? JSON.stringify([told('agent-1', { applied: 'v1', error: { message: 'no' } })])
        : metrics
    const [refused] = await readAgents(apiWith([podOf('agent-1', 'n1')], [podOf('c', 'n1')]), refusing, 'weft-system')
    expect(refused?.snapshot).to.equal('refused')
  })
})

describe('the list of Services', () => {
  const text = [
    shop({ name: 'web', ports: [8080, 'tcp-db:5432'] }, { name: 'api' }),
    '{apiVersion: v1, kind: Service, metadata: {name: weft, namespace: weft-system}, spec: {clusterIP: 10.96.0.9}}',
    '{apiVersion: v1, kind: Service, metadata: {name: api-mesh, labels: {app.kubernetes.io/managed-by: weft, weft.dev/service: api}}, spec: {type: ExternalName, externalName: x}}',
  ].join('\n---\n')

  it('says what to write in a client instead of what', () => {
    const world = worldOf(text)
    const list = listAddresses(world, passOf(world).topology, defaultSettings, null)
    expect(list[0]).to.deep.equal({
      namespace: 'shop',
      service: 'api',
      alias: 'api-mesh.shop',
      isWritten: true,
      meshName: 'api.shop.mesh.internal',
      address: '10.96.0.9',
      isDedicated: false,
      ports: [{ port: 8080, protocol: 'http', endpoints: 1 }],
      change: [{ from: 'http://api.shop:8080', to: 'http://api-mesh.shop:8080' }],
    })
    // An opaque port: an address of its own, which is not there yet, and no scheme.
    expect(list[1]).to.deep.include({ isDedicated: true, address: '', isWritten: false })
    expect(list[1]?.change[1]).to.deep.equal({ from: 'web.shop:5432', to: 'web-mesh.shop:5432' })
    expect(listAddresses(world, passOf(world).topology, defaultSettings, 'other')).to.deep.equal([])
    const lines = formatAddresses(list, 'wide').split('\n')
    expect(lines[1]).to.match(
      /^shop +api +api-mesh\.shop +api\.shop\.mesh\.internal +10\.96\.0\.9 +8080\/http → 1 +http:\/\/api\.shop:8080 +http:\/\/api-mesh\.shop:8080$/,
    )
    expect(lines[2]).to.include('web-mesh.shop (not yet)').and.include('(none yet)')
    expect(JSON.parse(formatAddresses(list, 'json'))).to.have.length(2)
  })

  it('offers the mesh domain where there is no alias', () => {
    const taken =
      '{apiVersion: v1, kind: Service, metadata: {name: web-mesh}, spec: {clusterIP: 10.96.1.9, ports: [{port: 1, name: x, targetPort: 1}]}}'
    const world = worldOf([shop({ name: 'web' }), taken].join('\n---\n'))
    const list = listAddresses(world, passOf(world).topology, defaultSettings, 'shop')
    const own = list.find(({ service }) => service === 'web')
    expect(own?.change[0]?.to).to.equal('http://web.shop.mesh.internal:8080')
    expect(formatAddresses(list, 'table')).to.include('(none)')
  })
})

describe('tables and numbers', () => {
  it('stand in columns, and steer no terminal', () => {
    expect(tableOf(['A', 'BB'], [['xxx', 'y\u001b[31m']])).to.equal('A     BB\nxxx   y [31m\n')
    expect(tableOf(['A'], [])).to.equal('')
  })

  it('are durations that people read', () => {
    const cases: [number, string][] = [
      [0, '0s'],
      [999, '0s'],
      [61_000, '1m1s'],
      [3 * hour, '3h'],
      [26 * hour + 59_000, '1d2h'],
      [-5_000, '-5s'],
    ]
    for (const [ms, expected] of cases) expect(shortDuration(ms)).to.equal(expected)
  })

  it('are conflicts that an upgrade may settle', () => {
    const of = (who: string) => isKubectls(`Apply failed with 1 conflict: conflict with ${who}: .spec.replicas`)
    expect(of('"kubectl-client-side-apply" using apps/v1')).to.equal(true)
    expect(of('"kubectl"')).to.equal(true)
    expect(of('"kubectl" with subresource "scale" using autoscaling/v1')).to.equal(false)
    expect(of('"kubectl-edit" using apps/v1')).to.equal(false)
    expect(
      isKubectls('conflicts with "kubectl-client-side-apply" using v1:\n- .a\nconflicts with "hpa" using v1:\n- .b'),
    ).to.equal(false)
    expect(isKubectls('the object has been modified')).to.equal(false)
  })

  it('are versions that may follow each other', () => {
    for (const [from, to] of [
      ['0.1.0', '0.1.9'],
      ['0.1.0', '0.2.0'],
      ['0.3.0', '0.2.0'],
      ['', '0.2.0'],
      ['dev', '9.0.0'],
    ]) {
      expect(distanceFault(from!, to!), `${from} ${to}`).to.equal(null)
    }
    expect(distanceFault('0.1.0', '0.3.0')).to.include('go by way of 0.2')
    expect(distanceFault('0.4.0', '0.1.0')).to.include('go by way of 0.3')
    expect(distanceFault('0.9.0', '1.0.0')).to.include('the last minor version before the new major one')
  })
})
