// One release apart: this agent reads what the controller of the release before has sent, this controller says nothing that
// the agent of the release before would refuse. Both are held against recordings (v1/).

import { readdirSync, readFileSync } from 'node:fs'
import { expect } from 'chai'
import { pino } from 'pino'
import { parseAllDocuments } from 'yaml'
import { buildNext, emptyStand } from '../../../agent/mesh/apply.ts'
import { readMessage } from '../../../agent/mesh/schema.ts'
import { changeBetween, nothing, Reader, refusalOf } from '../../../agent/mesh/store.ts'
import { systemClock } from '../../../controller/clock.ts'
import type { MeshResource, Resource } from '../../../controller/contract/resources.ts'
import { agreeContract, contract } from '../../../controller/contract/version.ts'
import { startServer } from '../../../controller/serve.ts'
import type { Encoded } from '../../../controller/translate/translate.ts'
import { toVersion } from '../../../controller/transmit/older.ts'
import { openTransmitter } from '../../../controller/transmit/transmitter.ts'
import { openLink } from '../../support/agentlink.ts'
import { passOf, worldOf } from '../../support/world.ts'
import { problemOf as oldProblemOf, readMessage as readOldMessage } from './v1/schema.ts'

const golden = new URL('../../golden/', import.meta.url)

function translations() {
  return readdirSync(golden)
    .filter((name) => name.endsWith('.world.yaml'))
    .map((name) => {
      const yaml = readFileSync(new URL(name, golden), 'utf8')
      const first = parseAllDocuments(yaml)[0]?.toJS() as { settings?: object } | null
      return { name, ...passOf(worldOf(yaml), first?.settings ?? {}).translation }
    })
}

function encoded(resource: Resource): Encoded {
  const text = JSON.stringify(resource)
  return { resource, text, hash: text }
}

const mesh: MeshResource = {
  kind: 'mesh',
  name: 'mesh',
  trustDomain: 'cluster.local',
  clusterDomain: 'cluster.local',
  meshDomain: 'mesh.internal',
  aliasSuffix: '-mesh',
  address: 'fd00::1',
  secondAddress: '10.96.0.1',
  defaultAccess: 'allow',
}
const workload: Resource = {
  kind: 'workload',
  name: 'uid',
  pod: 'shop/a',
  address: 'fd00::2',
  account: 'shop/default',
  workload: '',
  live: true,
  startedAt: 1,
}
const peer: Resource = { kind: 'peer', name: 'node1', address: 'fd00::9', port: 15008 }
const place = { port: 80, node: 'node1', pod: 'shop/a', podUid: 'uid', account: 'shop/default', workload: '' }
const endpoints: Resource = {
  kind: 'endpoints',
  name: 'shop/a:80',
  endpoints: [
    { address: 'fd00::2', ...place },
    { address: '10.0.0.2', ...place },
    { address: 'db.example', ...place },
  ],
}

describe('contract versions', () => {
  it('have one in common with the release before and after', () => {
    expect(contract.newest - contract.oldest).to.equal(1)
    expect(agreeContract(contract.oldest - 1, contract.newest - 1)).to.equal(contract.newest - 1)
    expect(agreeContract(contract.oldest, contract.newest)).to.equal(contract.newest)
    expect(agreeContract(contract.newest, contract.newest + 1)).to.equal(contract.newest)
    expect(agreeContract(contract.newest + 1, contract.newest + 2)).to.equal(null)
    expect(agreeContract(1, contract.oldest - 1)).to.equal(null)
  })

  it('an agent of today takes the recorded stream of version 1, one state after the other', () => {
    const lines = readFileSync(new URL('v1/stream.ndjson', import.meta.url), 'utf8')
      .trim()
      .split('\n')
    const surroundings = { node: 'node1', compile: () => [], now: () => 0 }
    let wanted = nothing
    let stand = emptyStand
    let reader: Reader | null = null
    let states = 0
    for (const line of lines) {
      const message = readMessage(line)
      if (message.type === 'begin') reader = new Reader(message.version, message.full ? null : wanted)
      else if (message.type === 'set' || message.type === 'remove') reader!.take(message, line)
      else if (message.type === 'commit') {
        const next = reader!.finish(message)
        expect(refusalOf(next), message.version).to.equal(null)
        const change = changeBetween(wanted, next)
        stand = buildNext(stand, next.version, change.bytes, surroundings).stand
        expect(stand.snapshot.services.size).to.equal(
          [...next.lines.keys()].filter((key) => key.startsWith('service ')).length,
        )
        wanted = next
        states++
      }
    }
    expect(states).to.be.greaterThan(10)
  })

  it('the recording is what version 1 says of itself', () => {
    for (const line of readFileSync(new URL('v1/stream.ndjson', import.meta.url), 'utf8')
      .trim()
      .split('\n')) {
      const message = readOldMessage(line)
      if (message.type === 'set') expect(oldProblemOf(message.resource)).to.equal(null)
    }
  })

  for (const { name, common, nodes } of translations()) {
    it(`an agent of version 1 takes what it is told of ${name.replace('.world.yaml', '')}`, () => {
      for (const { resource } of [...common, ...[...nodes.values()].flat()]) {
        const older = toVersion(resource, 1)
        // What is the same to it is said in the same words.
        if (older !== null) expect(oldProblemOf(JSON.parse(JSON.stringify(older)))).to.equal(null)
      }
    })
  }

  it('an agent of version 1 learns nothing of IPv6, and all that it can use', () => {
    const { secondAddress: _, ...single } = mesh
    expect(toVersion(mesh, 1)).to.deep.equal({ ...single, address: '10.96.0.1' })
    expect(toVersion({ ...workload, secondAddress: '10.0.0.2' }, 1)).to.include({ address: '10.0.0.2' })
    expect(toVersion(workload, 1)).to.equal(null)
    expect(toVersion(peer, 1)).to.equal(null)
    const older = toVersion(endpoints, 1)
    expect(older?.kind === 'endpoints' && older.endpoints.map(({ address }) => address)).to.deep.equal([
      '10.0.0.2',
      'db.example',
    ])
    for (const each of [mesh, { ...workload, secondAddress: '10.0.0.2' }, endpoints]) {
      expect(oldProblemOf(JSON.parse(JSON.stringify(toVersion(each, 1)))), each.kind).to.equal(null)
      expect(oldProblemOf(each as never), each.kind).to.be.a('string')
    }
    expect(toVersion(mesh, contract.newest)).to.equal(mesh)
  })

  it('agents of both versions follow one controller, each in its words', async () => {
    const transmitter = openTransmitter({
      clock: systemClock,
      log: pino({ level: 'silent' }),
      controller: 'controller-1',
      authenticate: async (_request, { node, pod }) => ({ agent: { node, pod, podUid: pod } }),
    })
    const server = await startServer('127.0.0.1', 0, [transmitter.handle])
    try {
      transmitter.publish([mesh, peer].map(encoded), new Map([['node1', [encoded(workload)]]]))
      const old = await openLink(server.port, { node: 'node1', pod: 'old', oldest: 1, newest: 1 })
      const present = await openLink(server.port, { node: 'node1', pod: 'present', oldest: 1, newest: 2 })
      const next = await openLink(server.port, { node: 'node1', pod: 'next', oldest: 2, newest: 3 })
      await Promise.all([old, present, next].map((each) => each.transaction(1)))
      expect(old.messages[0]).to.deep.equal({ type: 'hello', contract: 1, controller: 'controller-1' })
      expect([...old.resources.keys()]).to.deep.equal(['mesh mesh'])
      for (const each of [present, next]) {
        expect(each.messages[0]).to.include({ contract: 2 })
        expect([...each.resources.keys()]).to.have.members(['workload uid', 'mesh mesh', 'peer node1'])
      }
      expect(old.versions, 'one state has one name').to.deep.equal(present.versions)

      const four: Resource = { ...peer, address: '10.0.0.9' }
      for (const step of [[mesh, four, endpoints], [mesh, peer, endpoints], [mesh]]) {
        transmitter.publish(step.map(encoded), new Map([['node1', [encoded(workload)]]]))
        const nth = present.versions.length + 1
        await Promise.all([old, present, next].map((each) => each.transaction(nth)))
        expect(old.resources.has('peer node1')).to.equal(step.includes(four))
        expect(present.resources.has('peer node1')).to.equal(step.length > 1)
      }
      for (const message of old.messages) {
        readOldMessage(JSON.stringify(message))
        if (message.type === 'set') expect(oldProblemOf(message.resource as never)).to.equal(null)
      }
      for (const link of [old, present, next]) link.close()
    } finally {
      await transmitter.close()
      await server.close(100)
    }
  })
})
