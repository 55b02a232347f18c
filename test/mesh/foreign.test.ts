// Callers that speak something else than HTTP/1.1 on a port for it: cut off, and told why by way of the controller.

import { connect as connectTls } from 'node:tls'
import { expect } from 'chai'
import type { CallerNotice } from '../../controller/contract/messages.ts'
import { type AgentUnderTest, startAgent } from '../support/agent.ts'
import { rawConnect } from '../support/raw.ts'
import { endpoints, service, spec, workload } from '../support/resources.ts'
import { until } from '../support/until.ts'

const preface = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0'

describe('mesh: callers that speak no HTTP/1.1', () => {
  let agent: AgentUnderTest
  beforeEach(async () => {
    agent = await startAgent({
      resources: [
        service('shop/web'),
        endpoints('shop/web:80', spec('127.0.0.1', { port: 1 })),
        { kind: 'port', name: '16385', port: 80, service: { name: 'shop/web', uid: 'uid-shop/web' } },
        workload('127.0.0.1', { account: 'shop/client', pod: 'shop/client-1', name: 'uid-client' }),
      ],
    })
  })
  afterEach(() => agent.stop())

  const notices = () => agent.messages.flatMap((message) => (message.type === 'noticed' ? [message.notice] : []))
  const lines = () =>
    agent.messages.filter((message) => message.type === 'log' && message.message === 'a caller speaks no HTTP/1.1')
  const said = (change: Partial<CallerNotice>): CallerNotice => ({
    ...{ kind: 'tls-on-http', pod: 'shop/client-1', podUid: 'uid-client', port: 80, service: '' },
    ...change,
  })

  async function tls(port: number): Promise<void> {
    const socket = connectTls({ host: agent.address, port, rejectUnauthorized: false })
    let isClosed = false
    socket.on('error', () => {})
    socket.on('close', () => {
      isClosed = true
    })
    await until(() => isClosed, 'the end of the connection')
  }

  async function h2(port: number): Promise<'end' | 'reset'> {
    const caller = await rawConnect(port, agent.address)
    caller.send(preface)
    const { how, rest } = await caller.gone()
    expect(rest).to.equal('')
    return how
  }

  it('by TLS are closed, logged, counted and told of once', async () => {
    await tls(agent.port)
    await tls(agent.port)
    expect(notices()).to.deep.equal([said({})])
    expect(lines()).to.have.length(1)
    await until(() => agent.metric('weft_parse_errors_total')[0]?.value === 2)
  })

  it('by TLS at the entry port, or at an address of its own, are told apart', async () => {
    await tls(agent.entryPort)
    await tls(16385)
    expect(notices()).to.deep.equal([said({ port: 0 }), said({ service: 'shop/web' })])
  })

  it('by HTTP/2 are closed where the Host must be read', async () => {
    expect(await h2(agent.port)).to.equal('reset')
    expect(await h2(agent.entryPort)).to.equal('reset')
    expect(notices()).to.deep.equal([said({ kind: 'h2-on-shared' }), said({ kind: 'h2-on-shared', port: 0 })])
  })

  it('are nobody’s business where the caller is no pod', async () => {
    await agent.remove({ kind: 'workload', name: 'uid-client', gone: true })
    await agent.remove({ kind: 'workload', name: 'uid-127.0.0.1', gone: true })
    const socket = rawConnect(agent.port, agent.address)
    ;(await socket).send(preface)
    await until(() => lines().length === 1, 'the log', 5_000)
    expect(notices()).to.deep.equal([])
  })
})
