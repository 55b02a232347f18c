// Whose request it is: by the address of the caller's pod on its own node, and by nothing that it says.

import { expect } from 'chai'
import type { AccessRule, Resource } from '../../controller/contract/resources.ts'
import {
  client,
  echoMeshPort,
  other,
  type Pair,
  type PairOptions,
  type Place,
  server,
  startPair,
} from '../support/pair.ts'
import { type RawSocket, rawConnect } from '../support/raw.ts'
import { workload } from '../support/resources.ts'
import { until } from '../support/until.ts'

const places: readonly Place[] = ['near', 'far']
const nodeOf = (place: Place) => (place === 'near' ? 'the same node' : 'another node')
const only = (...rules: Partial<AccessRule>[]): Resource => ({
  kind: 'access',
  name: server,
  rules: rules.map((rule) => ({ name: 'shop/t', sources: [client], ports: null, http: null, ...rule })),
})

describe('mesh: sources', () => {
  let pair: Pair
  /** The identity headers of each request that a pod got. */
  let seen: (string | undefined)[]

  async function start(options: PairOptions = {}): Promise<void> {
    seen = []
    pair = await startPair({
      handler: (request, response) => {
        seen.push(request.headers['x-forwarded-client-cert'] as string | undefined)
        response.end('hello')
      },
      ...options,
    })
  }
  afterEach(() => pair.stop())

  const net = (last: number) => pair.caller.replace(/\d+$/, String(last))
  const from = (address: string) => rawConnect(pair.near.port, pair.near.address, address)

  async function ask(connection: RawSocket, lines = ''): Promise<string> {
    connection.send(`GET / HTTP/1.1\r\nHost: web-mesh.shop\r\n${lines}\r\n`)
    return (await connection.readMessage()).slice(9, 12)
  }

  async function once(address: string, lines = ''): Promise<string> {
    const connection = await from(address)
    const status = await ask(connection, lines)
    connection.destroy()
    return status
  }

  const cert = (account: string) => {
    const [namespace, name] = account.split('/')
    return `By=spiffe://cluster.local/ns/shop/sa/web;URI=spiffe://cluster.local/ns/${namespace}/sa/${name}`
  }

  for (const place of places) {
    describe(`towards ${nodeOf(place)}`, () => {
      it('have no identity: the host, host-network pods, pods of other nodes', async () => {
        await start({ flags: ['--caller-timeout', '1ms'] })
        await pair.place(place)
        // The test support makes it a pod.
        await pair.near.remove({ kind: 'workload', name: 'uid-127.0.0.1', gone: true })
        const nobody = ['127.0.0.1', net(99), pair.pods.far.address]
        for (const address of nobody) expect(await once(address), address).to.equal('200')
        expect(seen).to.deep.equal([undefined, undefined, undefined])
        // No rule lets them in: not one for everybody that has a name, nor one for the agents under whose name they travel.
        await pair.apply(only({ sources: [client, other, server, 'weft-system/weft-agent', ''] }))
        for (const address of nobody) expect(await once(address), address).to.equal('403')
        expect(await once(pair.caller)).to.equal('200')
      })

      it('are two identities on one node, whatever connections are kept', async () => {
        await start()
        await pair.place(place)
        await pair.near.apply(workload(net(15), { account: other, pod: `${other}-1` }))
        for (let i = 0; i < 5; i++) {
          const [one, two] = [await from(pair.caller), await from(net(15))]
          await Promise.all([ask(one).then(() => ask(one)), ask(two)])
          await ask(one)
          one.destroy()
          two.destroy()
        }
        expect(seen).to.have.length(20)
        expect(seen.filter((line) => line === cert(client))).to.have.length(15)
        expect(seen.filter((line) => line === cert(other))).to.have.length(5)
        await pair.apply(only({}))
        expect(await once(net(15))).to.equal('403')
        expect(await once(pair.caller)).to.equal('200')
        if (place === 'far') {
          const peers = pair.far.thread['parts'].tunnel.sessions().map(({ peer }) => peer.account)
          expect(new Set(peers)).to.deep.equal(new Set([client, other]))
        }
      })

      const forgeries: [string, string][] = [
        ['as it is', `X-Forwarded-Client-Cert: ${'By=x;URI=spiffe://cluster.local/ns/shop/sa/admin'}\r\n`],
        ['twice', 'x-forwarded-client-cert: URI=a\r\nX-FORWARDED-CLIENT-CERT: URI=b\r\n'],
        ['with an underscore', 'x_forwarded_client_cert: URI=a\r\nX-Forwarded_Client-Cert: URI=b\r\n'],
        ['as a header of this hop', 'x-forwarded-client-cert: URI=a\r\nConnection: x-forwarded-client-cert\r\n'],
        ["in the agents' own words", 'weft-protocol: http\r\nx-weft-source: shop/admin\r\n'],
      ]
      it('are not what a header says', async () => {
        await start({ flags: ['--caller-timeout', '1ms'] })
        await pair.place(place)
        for (const [how, lines] of forgeries) {
          seen.length = 0
          expect(await once(pair.caller, lines), how).to.equal('200')
          expect(seen, how).to.deep.equal([cert(client)])
          expect(await once(net(99), lines), how).to.equal('200')
          expect(seen[1], how).to.equal(undefined)
        }
        await pair.apply(only({ sources: ['shop/admin'] }))
        for (const [how, lines] of forgeries) expect(await once(pair.caller, lines), how).to.equal('403')
      })

      it('keep their name when the pod ends, and lose it when another takes the address', async () => {
        await start()
        await pair.place(place)
        await pair.apply(only({}))
        const connection = await from(pair.caller)
        const opaque = await rawConnect(echoMeshPort, pair.near.address, pair.caller)
        opaque.send('a')
        await opaque.read(1)
        expect(await ask(connection)).to.equal('200')
        const pod = { account: client, pod: `${client}-1` }
        await pair.near.apply(workload(pair.caller, { ...pod, live: false }))
        expect(await ask(connection)).to.equal('200')
        opaque.send('b')
        await opaque.read(1)
        // A new connection can't be of the pod that has ended: it waits for the next one.
        const next = once(pair.caller)
        // Another pod, though of the same account: what it says is not what the old one said.
        await pair.near.apply(workload(pair.caller, { ...pod, name: 'uid-new', live: true, startedAt: 2_000 }))
        await until(() => connection.isClosed && opaque.isReset, 'the end of both connections')
        expect(await next).to.equal('200')
        expect(await once(pair.caller)).to.equal('200')
        await pair.near.apply(
          workload(pair.caller, { account: other, pod: `${other}-1`, name: 'uid-other', startedAt: 3_000 }),
        )
        expect(await once(pair.caller)).to.equal('403')
      })

      it('may be unknown at first: their requests wait until the pod is known', async () => {
        await start()
        await pair.place(place)
        await pair.apply(only({}))
        const connection = await from(net(30))
        const status = ask(connection)
        await until(() => pair.near.thread['parts'].desk.waiters === 1, 'a caller that waits')
        await pair.near.apply(workload(net(30), { account: client, pod: `${client}-2` }))
        expect(await status).to.equal('200')
        expect(seen).to.deep.equal([cert(client)])
      })
    })
  }

  it('that stay unknown are nobody after the wait, and are counted', async () => {
    await start({ flags: ['--caller-timeout', '200ms'] })
    const before = performance.now()
    expect(await once(net(99))).to.equal('200')
    expect(performance.now() - before).to.be.within(150, 3_000)
    expect(seen).to.deep.equal([undefined])
    // Who has waited in vain does not wait again.
    const again = performance.now()
    expect(await once(net(99))).to.equal('200')
    expect(performance.now() - again).to.be.lessThan(150)
    await until(() => pair.near.metric('weft_callers_unknown_total')[0]?.value === 2, 'the count', 3_000)
  })

  it('wait three seconds unless told otherwise', async () => {
    await start()
    expect(pair.near.config.limits.callerWaitMs).to.equal(3_000)
  })
})
