// What is left of a refusal: counters and log lines that name accounts and rule, on the agent that refused and on no
// other, and a pod that has heard nothing.

import { expect } from 'chai'
import type { AccessRule, Resource } from '../../controller/contract/resources.ts'
import { client, echoMeshPort, type Pair, type Place, server, startPair } from '../support/pair.ts'
import { rawConnect } from '../support/raw.ts'
import { until } from '../support/until.ts'

const only = (...rules: Partial<AccessRule>[]): Resource => ({
  kind: 'access',
  name: server,
  rules: rules.map((rule, at) => ({
    name: `shop/target-${at}`,
    sources: [client],
    ports: null,
    http: null,
    ...rule,
  })),
})

describe('mesh: denials', () => {
  let pair: Pair
  beforeEach(async () => {
    pair = await startPair({ flags: ['--caller-timeout', '1ms'] })
  })
  afterEach(() => pair.stop())

  const stranger = () => pair.caller.replace(/\d+$/, '99')

  async function get(path = '/', from = pair.caller): Promise<string> {
    const caller = await rawConnect(pair.near.port, pair.near.address, from)
    caller.send(`GET ${path} HTTP/1.1\r\nHost: web-mesh.shop\r\n\r\n`)
    const response = await caller.readMessage()
    caller.destroy()
    return response.slice(9, 12)
  }

  async function opaque(from = pair.caller): Promise<void> {
    const caller = await rawConnect(echoMeshPort, pair.near.address, from)
    caller.send('ping')
    expect((await caller.gone()).how).to.equal('reset')
  }

  const denials = (place: Place) => pair[place].metric('weft_denials_total')
  const logged = (place: Place) =>
    pair[place].messages.flatMap((message) =>
      message.type === 'log' && message.message === 'access denied' ? [message.fields] : [],
    )

  for (const place of ['near', 'far'] as const) {
    const isNear = place === 'near'
    const elsewhere = isNear ? 'far' : 'near'

    describe(`with the endpoint on ${isNear ? 'the same' : 'another'} node`, () => {
      beforeEach(() => pair.place(place))

      it('are counted and logged with both accounts and the rule that came closest', async () => {
        await pair.apply(only({ ports: [1] }, { http: [{ name: 'm', path: '/open', methods: null, headers: [] }] }))
        expect(await get('/shut?secret=1')).to.equal('403')
        expect(await get('/shut')).to.equal('403')
        const labels = { source: client, destination: server, cause: 'route', rule: 'shop/target-1' }
        await until(() => denials(place).length === 1)
        expect(denials(place)).to.deep.equal([{ value: 2, labels }])
        expect(logged(place)).to.have.length(1)
        expect(logged(place)[0]).to.include({
          ...labels,
          method: 'GET',
          path: '/shut',
          endpoint: `${pair.pods[place].address}:${pair.pods[place].port}`,
          direction: isNear ? 'outbound' : 'inbound',
        })
        expect(denials(elsewhere)).to.deep.equal([])
        expect(logged(elsewhere)).to.deep.equal([])
      })

      it('of callers without identity, and of opaque connections, too', async () => {
        await pair.apply(only({ http: [] }))
        expect(await get('/', stranger())).to.equal('403')
        await opaque()
        await opaque(stranger())
        await until(() => denials(place).length === 2)
        expect(denials(place)).to.have.deep.members([
          { value: 2, labels: { source: '', destination: server, cause: 'source', rule: '' } },
          { value: 1, labels: { source: client, destination: server, cause: 'opaque', rule: 'shop/target-0' } },
        ])
        expect(denials(elsewhere)).to.deep.equal([])
      })

      it('for account or port never reach the pod, not even by a connection', async () => {
        await pair.apply(only({ ports: [1] }, { sources: ['shop/nobody'] }))
        expect(await get()).to.equal('403')
        expect(await get('/', stranger())).to.equal('403')
        await opaque()
        await pair.apply(
          { kind: 'access', name: server, gone: true },
          { kind: 'namespace', name: 'shop', access: 'deny' },
        )
        expect(await get()).to.equal('403')
        await opaque()
        expect(pair.pods[place].connections).to.equal(0)
      })
    })
  }

  it('are foretold by /debug/permit', async () => {
    await pair.apply(only({ http: [{ name: 'm', path: '/open', methods: null, headers: [] }] }))
    const request = { method: 'GET', path: '/shut', headers: [] }
    const permit = { source: pair.caller, destination: server, port: pair.endpoint.port, request }
    for (const { thread, messages } of [pair.near, pair.far]) {
      thread.handle({ type: 'ask', id: 1, what: { permit: { ...permit, source: client } } })
      const answer = messages.find((message) => message.type === 'answer')
      expect(answer?.value).to.include({ allowed: false, cause: 'route', rule: 'shop/target-0' })
    }
    pair.near.thread.handle({ type: 'ask', id: 2, what: { permit } })
    expect(pair.near.messages.findLast((message) => message.type === 'answer')?.value).to.include({ source: client })
  })

  it('are logged as the level asks', async () => {
    await pair.apply(only())
    pair.far.thread.handle({ type: 'level', level: 'error' })
    expect(await get()).to.equal('403')
    pair.far.thread.handle({ type: 'level', level: 'warn' })
    await until(() => denials('far').length === 1)
    expect(logged('far')).to.deep.equal([])
  })
})
