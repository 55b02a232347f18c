// The controller's admin port, asked over HTTP.

import { expect } from 'chai'
import { request } from 'undici'
import { openAdmin, openStats } from '../../../controller/admin/admin.ts'
import { openMetrics, type Parts } from '../../../controller/admin/metrics.ts'
import { openLedger } from '../../../controller/admin/ready.ts'
import type { RunningAuthority } from '../../../controller/authority/start.ts'
import { systemClock } from '../../../controller/clock.ts'
import type { Election } from '../../../controller/observe/lease.ts'
import type { Observer } from '../../../controller/observe/observer.ts'
import type { Pipeline } from '../../../controller/pipeline.ts'
import { type Server, startServer } from '../../../controller/serve.ts'
import { openTrack } from '../../../controller/transmit/track.ts'
import type { AgentState, Transmitter } from '../../../controller/transmit/transmitter.ts'
import type { Updater } from '../../../controller/update/updater.ts'

describe('stats and admin port', () => {
  let server: Server
  let stats: Server
  let blockers: string[]
  let parts: Parts

  beforeEach(async () => {
    blockers = []
    parts = {
      clock: systemClock,
      observer: null,
      pipeline: null,
      transmitter: null,
      updater: null,
      election: null,
      authority: null,
      admission: null,
    }
    const ledger = openLedger()
    ledger.add(() => blockers)
    const metrics = openMetrics(parts)
    server = await startServer('127.0.0.1', 0, [openAdmin({ parts, ledger, metrics })])
    stats = await startServer('127.0.0.1', 0, [openStats({ parts, ledger, metrics })])
  })

  afterEach(() => Promise.all([server.close(100), stats.close(100)]))

  async function get(path: string, method = 'GET') {
    const response = await fetch(`http://127.0.0.1:${server.port}${path}`, { method })
    return { status: response.status, text: await response.text() }
  }

  function agent(state: Partial<AgentState>): AgentState {
    const rest = { node: 'n', pod: 'p', podUid: 'u', contract: 1, since: 1, transactions: 1, bytes: 1, error: null }
    const account = { acks: 3, rejections: 1, lagMs: 6500, fulls: 1 }
    return { ...rest, ...account, isConnected: true, sent: 'v', applied: 'v', ...state }
  }

  function fill(): void {
    const problem = { reason: 'RootNotFound' }
    const peer = { kind: 'peer' as const, name: 'node1', address: '10.0.0.1', port: 15008 }
    const pod = { ...peer, name: 'mine' }
    const trackOf = (resource: typeof peer) => {
      const track = openTrack()
      track.advance([{ resource, text: JSON.stringify(resource), hash: resource.name }])
      return track
    }
    parts.observer = {
      reflectors: () => [
        {
          part: 'pods',
          objects: 7,
          reflector: {
            kind: 'Pod',
            path: '/api/v1/pods',
            liveAt: systemClock.now() - 3000,
            lists: 2,
            failures: 1,
            rejected: 4,
          },
        },
      ],
    } as unknown as Observer
    parts.pipeline = {
      passes: 5,
      failures: 1,
      last: {
        topology: { services: [{ isEnrolled: true }, { isEnrolled: false }] },
        translation: { problems: [problem, problem] },
      },
    } as unknown as Pipeline
    parts.transmitter = {
      encoded: 11,
      agents: () => [
        agent({}),
        agent({ applied: 'old' }),
        agent({ error: { version: 'v', message: 'm' } }),
        agent({ isConnected: false }),
      ],
      target: (node: string) => ({ common: trackOf(peer), node: node === 'node1' ? trackOf(pod) : openTrack() }),
    } as unknown as Transmitter
    parts.updater = { writes: new Map([['create Service', 3]]), failures: 2 } as unknown as Updater
    parts.election = { isLeader: true } as unknown as Election
    const root = { id: 'r1', subject: 'CN=root', expires: '2036-01-01T00:00:00.000Z' }
    parts.authority = {
      counts: { signed: 12, refused: { not_on_node: 2, no_token: 0 } },
      open: {
        authority: {
          identity: 'spiffe://cluster.local/ns/weft-system/sa/weft-controller',
          status: () => ({ phase: 'trusting', signing: root, incoming: null, waiting: ['a', 'b'], problem: '' }),
        },
        tls: { expires: 1_800_000_000_000 },
      },
    } as unknown as RunningAuthority
  }

  it('is alive whatever is missing', async () => {
    blockers = ['listing Pod']
    for (const path of ['/livez', '/healthz']) expect(await get(path)).to.deep.equal({ status: 200, text: 'ok\n' })
  })

  it('is ready when nothing is missing, and names what is', async () => {
    blockers = ['listing Pod: 403', 'first pass']
    const text = 'waiting for: listing Pod: 403\nwaiting for: first pass\n'
    for (const path of ['/readyz', '/readyz?verbose']) expect(await get(path)).to.deep.equal({ status: 503, text })
    blockers = []
    expect(await get('/readyz')).to.deep.equal({ status: 200, text: 'ok\n' })
  })

  it('shows what it knows of tenants on the admin port alone, and there to no page of a browser', async () => {
    fill()
    const ask = async (port: number, path: string, headers: Record<string, string> = {}) =>
      (await request(`http://127.0.0.1:${port}${path}`, { headers })).statusCode
    for (const path of ['topology', 'snapshot', 'authority', 'agents', 'reflectors'].map((page) => `/debug/${page}`)) {
      expect(await ask(stats.port, path), path).to.equal(404)
      expect(await ask(server.port, path), path).to.equal(200)
      expect(await ask(server.port, path, { host: 'evil.example' }), path).to.equal(403)
      expect(await ask(server.port, path, { origin: 'http://evil.example' }), path).to.equal(403)
      expect(await ask(server.port, path, { 'sec-fetch-site': 'same-site' }), path).to.equal(403)
    }
    for (const path of ['/livez', '/readyz', '/metrics']) {
      expect(await ask(stats.port, path, { host: 'weft-controller.weft-system' }), path).to.equal(200)
    }
    expect(await ask(server.port, '/__proto__')).to.equal(404)
  })

  it('measures before and after the parts have started', async () => {
    expect((await get('/metrics')).text).to.contain('weft_controller_leader 0')
    fill()
    const { text } = await get('/metrics')
    for (const line of [
      'weft_controller_passes_total{result="done"} 5',
      'weft_controller_passes_total{result="failed"} 1',
      'weft_controller_reflector_objects{kind="Pod"} 7',
      'weft_controller_reflector_lists_total{kind="Pod"} 2',
      'weft_controller_agents{state="current"} 1',
      'weft_controller_agents{state="behind"} 1',
      'weft_controller_agents{state="refused"} 1',
      'weft_controller_agent_contract{version="1"} 3',
      'weft_controller_agent_lag_seconds{node="n"} 6.5',
      'weft_controller_agent_reports_total{node="n",result="applied"} 9',
      'weft_controller_agent_reports_total{node="n",result="refused"} 3',
      'weft_controller_agent_transactions_total{node="n",kind="full"} 3',
      'weft_controller_agent_transactions_total{node="n",kind="delta"} 0',
      'weft_controller_agent_bytes_total{node="n"} 3',
      'weft_controller_encodings_total 11',
      'weft_controller_reflector_rejected_total{kind="Pod"} 4',
      'weft_controller_problems{reason="RootNotFound"} 2',
      'weft_controller_services 1',
      'weft_controller_writes_total{verb="create",kind="Service"} 3',
      'weft_controller_write_failures_total 2',
      'weft_controller_leader 1',
      'weft_controller_root_expiry_timestamp_seconds{root="signing"} 2082758400',
      'weft_controller_certificate_expiry_timestamp_seconds 1800000000',
      'weft_controller_rotation{phase="trusting"} 1',
      'weft_controller_rotation{phase="steady"} 0',
      'weft_controller_rotation_waiting 2',
      'weft_controller_root_problem 0',
      'weft_controller_certificates_total 12',
      'weft_controller_refusals_total{reason="not_on_node"} 2',
      'weft_controller_refusals_total{reason="no_token"} 0',
    ]) {
      expect(text).to.contain(`${line}\n`)
    }
    expect(text).to.match(/reflector_silence_seconds\{kind="Pod"\} 3\.\d/)
    expect(text).to.match(/process_resident_memory_bytes \d+/)
    // Counters that are read when asked for don't add up from scrape to scrape.
    expect((await get('/metrics')).text).to.contain('weft_controller_passes_total{result="done"} 5\n')
  })

  it('dumps the topology, and the snapshot of a node', async () => {
    expect((await get('/debug/topology')).status).to.equal(503)
    expect((await get('/debug/snapshot')).status).to.equal(503)
    fill()
    expect(JSON.parse((await get('/debug/topology')).text)).to.have.nested.property(
      'problems[1].reason',
      'RootNotFound',
    )
    const snapshot = JSON.parse((await get('/debug/snapshot?node=node1')).text)
    expect(snapshot.resources.map(({ name }: { name: string }) => name)).to.deep.equal(['node1', 'mine'])
    expect(JSON.parse((await get('/debug/snapshot')).text).resources).to.have.length(1)
    expect(JSON.parse((await get('/debug/agents')).text)).to.have.length(4)
    expect(JSON.parse((await get('/debug/reflectors')).text)[0]).to.include({ kind: 'Pod', objects: 7, failures: 1 })
  })

  it('shows the authority', async () => {
    expect((await get('/debug/authority')).status).to.equal(503)
    fill()
    const facts = JSON.parse((await get('/debug/authority')).text)
    expect(facts).to.have.all.keys('identity', 'rotation', 'certificate', 'signed', 'refused')
    expect(facts.certificate).to.deep.equal({ expires: '2027-01-15T08:00:00.000Z' })
    expect(facts.rotation).to.include({ phase: 'trusting' })
  })

  it('answers HEAD without a body, other methods with 405, other paths with 404', async () => {
    expect(await get('/livez', 'HEAD')).to.deep.equal({ status: 200, text: '' })
    expect((await get('/livez', 'POST')).status).to.equal(405)
    expect((await get('/debug/nothing')).status).to.equal(404)
  })
})
