// Questions and reports that the transmitter refuses, and what it keeps of those that it takes.

import { expect } from 'chai'
import type { Transmitter } from '../../../controller/transmit/transmitter.ts'
import { peer, TransmitterBench } from '../../support/transmitter.ts'

describe('transmitter: questions and reports', () => {
  let bench: TransmitterBench
  let transmitter: Transmitter
  const open = (...given: Parameters<TransmitterBench['open']>) => bench.open(...given)
  const report = (body: unknown) => bench.report(body)

  beforeEach(async () => {
    bench = new TransmitterBench()
    await bench.start()
    transmitter = bench.transmitter
  })

  afterEach(() => bench.stop())

  it('refuses contract versions that it does not speak, and says which it does', async () => {
    transmitter.publish([], new Map())
    for (const [oldest, newest] of [
      [3, 4],
      [7, 7],
    ]) {
      const link = await open('node1', 'agent-1', { oldest, newest })
      expect(link.status).to.equal(406)
      const body = JSON.parse(await link.text())
      expect(body).to.include({ error: 'contract_refused', oldest: 1, newest: 2 })
      expect(body.message).to.contain(`${oldest} to ${newest}`)
    }
    const link = await open('node1', 'agent-1', { oldest: 1, newest: 9 })
    await link.transaction(1)
    expect(link.messages[0]).to.include({ contract: 2 })
  })

  it('gives a node’s state to the agent pod of that node and to nobody else', async () => {
    transmitter.publish([], new Map())
    for (const [node, pod, why] of [
      ['node2', 'agent-1', 'runs on node "node1", not on "node2"'],
      ['node1', 'nobody', 'is not known here'],
      ['node1', 'other', 'is no agent'],
      ['node3', 'agent-3', 'has ended (Failed)'],
    ] as const) {
      const link = await open(node, pod)
      expect(link.status, pod).to.equal(403)
      expect(JSON.parse(await link.text()).message).to.contain(why)
    }
    expect(transmitter.agents()).to.deep.equal([])
  })

  it('refuses questions that it can’t read', async () => {
    transmitter.publish([], new Map())
    for (const [query, why] of [
      ['', '"node" is missing'],
      ['node=node1', '"pod" is missing'],
      ['node=node1&pod=agent-1', '"oldest" must be'],
      ['node=node1&pod=agent-1&oldest=1&newest=x', '"newest" must be'],
      ['node=node1&pod=agent-1&oldest=2&newest=1', '"oldest" is above "newest"'],
      ['node=node1&pod=agent-1&oldest=1&newest=1&colour=red', 'unknown parameter "colour"'],
    ] as const) {
      const response = await fetch(`http://127.0.0.1:${bench.server.port}/v1/snapshot?${query}`)
      expect(response.status, query).to.equal(400)
      expect(((await response.json()) as { message: string }).message).to.contain(why)
    }
    const posted = await fetch(`http://127.0.0.1:${bench.server.port}/v1/snapshot`, { method: 'POST' })
    expect(posted.status).to.equal(405)
    expect((await fetch(`http://127.0.0.1:${bench.server.port}/other`)).status).to.equal(404)
  })

  it('records what agents report', async () => {
    transmitter.publish([peer('a')], new Map())
    const link = await open('node1', 'agent-1')
    await link.transaction(1)
    const version = link.versions[0]!
    expect((await report({ node: 'node1', pod: 'agent-1', version, error: null })).status).to.equal(204)
    expect(transmitter.agents()[0]).to.include({ sent: version, applied: version, error: null, isConnected: true })
    const error = { version: 'v', message: 'field "x" is not in the contract' }
    await report({ node: 'node1', pod: 'agent-1', version, error })
    expect(transmitter.agents()[0]!.error).to.deep.equal(error)
    // A report may come without a session: the Service may send it to another replica.
    const notice = { kind: 'tls-on-http', pod: 'shop/client-1', podUid: 'uid', port: 80, service: '' }
    const trusting = {
      ...{ node: 'node2', pod: 'agent-2', version, error: null, trust: 'hash', signers: ['root'] },
      notices: [notice],
    }
    await report({ ...trusting, notices: [{ ...notice, other: 'dropped' }], other: 'dropped' })
    expect(bench.reports.at(-1)).to.deep.equal(trusting)
    expect(transmitter.agents()[1]).to.include({ node: 'node2', isConnected: false, applied: version })
  })

  it('refuses reports that it can’t read or believe', async () => {
    const good = { node: 'node1', pod: 'agent-1', version: '', error: null }
    for (const [body, status, why] of [
      ['{', 400, 'not JSON'],
      ['[]', 400, 'not an object'],
      [{ ...good, version: 1 }, 400, 'field "version"'],
      [{ ...good, node: '' }, 400, 'must not be empty'],
      [{ ...good, error: 'x' }, 400, 'field "error"'],
      [{ ...good, version: 'x'.repeat(40_000) }, 400, 'exceeds'],
      [{ ...good, trust: 7 }, 400, 'field "trust"'],
      [{ ...good, signers: ['a', 7] }, 400, 'field "signers"'],
      [{ ...good, notices: 'x' }, 400, 'field "notices"'],
      [
        { ...good, notices: [{ kind: 'other', pod: 'a/b', podUid: 'u', port: 1, service: '' }] },
        400,
        'field "notices"',
      ],
      [
        { ...good, notices: [{ kind: 'tls-on-http', pod: 'a/b', podUid: 'u', port: 0.5, service: '' }] },
        400,
        'at most 16',
      ],
      [{ ...good, notices: Array(17).fill(null) }, 400, 'field "notices"'],
      [{ ...good, node: 'node2' }, 403, 'not on "node2"'],
    ] as const) {
      const { status: got, text } = await report(body)
      expect(got, text).to.equal(status)
      expect(JSON.parse(text).message).to.contain(why)
    }
  })
})
