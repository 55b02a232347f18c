// Who may call whom: every combination of caller, place of the endpoint, protocol, mode and policy, with two real agents.
// What each cell must come to is worked out from SMI's rules below, not from the code under test.

import { expect } from 'chai'
import type { AccessMode, AccessRule, Resource } from '../../controller/contract/resources.ts'
import { client, echoMeshPort, other, type Pair, type Place, server, startPair } from '../support/pair.ts'
import { type RawSocket, rawConnect } from '../support/raw.ts'
import { type Gone, workload } from '../support/resources.ts'
import { until } from '../support/until.ts'

/**
 * `right`: the account that rules name. `wrong`: another one. `none`: an address that is no pod of the node. `stale`: an
 * address that was the right account's until a moment ago, and is the other's now.
 */
const sources = ['right', 'wrong', 'none', 'stale'] as const
type Source = (typeof sources)[number]
const protocols = ['HTTP', 'TCP'] as const
type Protocol = (typeof protocols)[number]
const modes: readonly AccessMode[] = ['allow', 'deny']
const places: readonly Place[] = ['near', 'far']

interface Policy {
  /** null: no TrafficTarget names the destination. */
  readonly rules: ((pair: Pair) => Partial<AccessRule>[]) | null
  /** The protocols by which the right account gets through. */
  readonly lets: readonly Protocol[]
}

const route = (path: string, method: string): AccessRule['http'] => [
  { name: 'route', path, methods: [method], headers: [] },
]
const portsOf = ({ pods }: Pair) => [pods.near, pods.far].flatMap(({ port, echoPort }) => [port, echoPort])

// Requests are `GET /open?query`.
const policies: Record<string, Policy> = {
  none: { rules: null, lets: ['HTTP', 'TCP'] },
  'allow (source alone)': { rules: () => [{}], lets: ['HTTP', 'TCP'] },
  'allow (source and port)': { rules: (pair) => [{ ports: portsOf(pair) }], lets: ['HTTP', 'TCP'] },
  // smi.md 1.4: where an HTTPRouteGroup is asked for, a connection that isn't HTTP is denied.
  'allow (port, path and method)': {
    rules: (pair) => [{ ports: portsOf(pair), http: route('/open$', 'GET') }],
    lets: ['HTTP'],
  },
  'allow (by the second of two targets)': {
    rules: () => [{ http: route('/other', 'GET') }, { http: route('/op', '*') }],
    lets: ['HTTP'],
  },
  'wrong port': { rules: () => [{ ports: [1] }], lets: [] },
  // The conditions of one target are ANDed: a right path doesn't make up for a wrong port.
  'wrong port, right path': { rules: () => [{ ports: [1], http: route('/open', 'GET') }], lets: [] },
  'wrong path': { rules: () => [{ http: route('/shut', 'GET') }], lets: [] },
  'wrong method': { rules: () => [{ http: route('/open', 'POST') }], lets: [] },
  'a target without valid rules': { rules: () => [], lets: [] },
}

/** What SMI's rules make of a cell. */
function isAllowed(source: Source, protocol: Protocol, mode: AccessMode, { rules, lets }: Policy): boolean {
  if (rules === null) return mode === 'allow'
  return source === 'right' && lets.includes(protocol)
}

describe('access matrix', () => {
  let pair: Pair

  before(async () => {
    pair = await startPair({ flags: ['--caller-timeout', '1ms'] })
    await pair.near.apply(workload(wrongAddress(), { account: other, pod: `${other}-1` }))
  })
  after(() => pair.stop())

  const wrongAddress = () => pair.caller.replace(/\d+$/, '15')
  const addressOf = (source: Source) =>
    ({ right: pair.caller, wrong: wrongAddress(), none: pair.caller.replace(/\d+$/, '99'), stale: pair.visitor })[
      source
    ]

  const connect = (source: Source, protocol: Protocol) =>
    rawConnect(protocol === 'HTTP' ? pair.near.port : echoMeshPort, pair.near.address, addressOf(source))

  function access(mode: AccessMode, { rules }: Policy): (Resource | Gone)[] {
    const given = rules?.(pair).map((rule, at) => ({
      ...{ name: `shop/target-${at}`, sources: [client], ports: null, http: null },
      ...rule,
    }))
    return [
      { kind: 'namespace', name: 'shop', access: mode },
      given === undefined
        ? { kind: 'access', name: server, gone: true }
        : { kind: 'access', name: server, rules: given },
    ]
  }

  const reached = () => pair.pods.near.reached + pair.pods.far.reached

  /** Asks on a connection; true if the pod has answered, false if the mesh has refused in the way that is right for the protocol. */
  async function gets(connection: RawSocket, protocol: Protocol): Promise<boolean> {
    if (protocol === 'TCP') {
      connection.send('ping')
      await until(() => connection.received === 'ping' || connection.hasEnded || connection.isClosed, 'an answer')
      if (connection.received === 'ping') return true
      expect((await connection.gone()).how).to.equal('reset')
      return false
    }
    connection.send('GET /open?a=1 HTTP/1.1\r\nHost: web-mesh.shop\r\n\r\n')
    const response = await connection.readMessage()
    if (response.startsWith('HTTP/1.1 200 ')) return true
    expect(response).to.match(/^HTTP\/1\.1 403 Forbidden\r\n/)
    expect(response).to.include('\r\nx-weft-error: denied\r\n')
    // A refusal is an answer like others: the connection goes on.
    connection.send('GET /open?a=1 HTTP/1.1\r\nHost: web-mesh.shop\r\n\r\n')
    expect(await connection.readMessage()).to.match(/^HTTP\/1\.1 403 Forbidden\r\n/)
    return false
  }

  const visitor = (account: string) =>
    pair.near.apply(workload(pair.visitor, { name: `uid-${account}`, account, pod: `${account}-v` }))
  const leave = (account: string) => pair.near.apply({ kind: 'workload', name: `uid-${account}`, gone: true })

  async function check(source: Source, protocol: Protocol, expected: boolean, isRightAllowed: boolean): Promise<void> {
    let before = reached()
    if (source === 'stale') {
      await visitor(client)
      const old = await connect(source, protocol)
      expect(await gets(old, protocol), 'as the right account').to.equal(isRightAllowed)
      await pair.near.apply(
        { kind: 'workload', name: `uid-${client}`, gone: true },
        workload(pair.visitor, { name: `uid-${other}`, account: other, pod: `${other}-v` }),
      )
      await until(() => old.isClosed, 'the end of the connection that was made in the name of another')
      before = reached()
    }
    const connection = await connect(source, protocol)
    expect(await gets(connection, protocol)).to.equal(expected)
    connection.destroy()
    if (source === 'stale') await leave(other)
    // What is denied never comes to the pod.
    if (!expected) expect(reached()).to.equal(before)
  }

  const cells = modes.flatMap((mode) =>
    Object.entries(policies).flatMap(([name, policy]) => places.map((place) => ({ mode, name, policy, place }))),
  )
  for (const { mode, name, policy, place } of cells) {
    describe(`mode ${mode}, policy ${name}, endpoint on ${place === 'near' ? 'the same' : 'another'} node`, () => {
      before(async () => {
        await pair.place(place)
        await pair.apply(...access(mode, policy))
      })

      for (const [source, protocol] of sources.flatMap((source) => protocols.map((each) => [source, each] as const))) {
        const expected = isAllowed(source, protocol, mode, policy)
        const who = source === 'none' ? 'no' : `the ${source}`
        it(`${expected ? 'lets' : 'refuses'} ${who} account by ${protocol}`, () =>
          check(source, protocol, expected, isAllowed('right', protocol, mode, policy)))
      }
    })
  }
})
