// Endpoints that are no pods, where a flag of the controller allows them: foreign addresses and hosts of ExternalName
// Services. They are reached in plain text, in nobody's name, and never by a name that leads back to this machine.

import type { LookupFunction } from 'node:net'
import { expect } from 'chai'
import type { EndpointSpec, Resource } from '../../controller/contract/resources.ts'
import { type AgentUnderTest, startAgent } from '../support/agent.ts'
import { testRoot } from '../support/certificates.ts'
import { agents, client, identities } from '../support/pair.ts'
import { RawServer, rawConnect } from '../support/raw.ts'
import { clean, get, ok, refusalOf } from '../support/rawmesh.ts'
import { endpoints, mesh, service, spec } from '../support/resources.ts'

describe('mesh: endpoints outside', () => {
  const root = testRoot()
  let agent: AgentUnderTest
  let server: RawServer

  beforeEach(async () => {
    server = await RawServer.listen()
    server.answerAll(ok('outside'))
  })
  afterEach(async () => {
    await clean(agent)
    await agent.stop()
    await server.stop()
  })

  const outside = (address: string): EndpointSpec =>
    spec(address, { port: server.port, node: '', pod: '', podUid: '', account: '', workload: '' })

  async function open(address: string, options: { lookup?: LookupFunction; more?: Resource[] } = {}): Promise<void> {
    const { lookup, more = [] } = options
    agent = await startAgent({
      identities: identities(root, agents, client),
      resources: [service('shop/web'), endpoints('shop/web:80', outside(address)), ...more],
      ...(lookup === undefined ? {} : { lookup }),
    })
  }

  async function call(): Promise<string> {
    const caller = await rawConnect(agent.port, agent.address)
    const response = await caller.send(get()).readMessage()
    caller.destroy()
    return response
  }

  it('are reached by their address, without a tunnel', async () => {
    await open('127.0.0.1')
    expect(await call()).to.match(/^HTTP\/1\.1 200 OK.*outside$/s)
    expect(server.received).to.match(/^GET \/ HTTP\/1\.1\r\nhost: web-mesh\.shop\r\n/)
  })

  it('are reached by their name, whichever of its addresses answers', async () => {
    const asked: string[] = []
    const lookup: LookupFunction = (name, _options, done) => {
      asked.push(name)
      done(null, [
        { address: '::1', family: 6 },
        { address: '127.0.0.1', family: 4 },
      ])
    }
    await open('api.example.com', { lookup })
    expect(await call()).to.match(/^HTTP\/1\.1 200 OK.*outside$/s)
    expect(asked).to.deep.equal(['api.example.com'])
  })

  it('are not reached by a name that leads to this machine', async () => {
    await open('localhost')
    expect(refusalOf(await call())).to.equal('502 connect_failed')
    expect(server.connections).to.have.length(0)
  })

  it('are subject to the mode of the mesh: without account, no rule permits them', async () => {
    await open('127.0.0.1')
    await agent.apply({ ...mesh, defaultAccess: 'deny' })
    expect(refusalOf(await call())).to.equal('403 denied')
    expect(server.connections).to.have.length(0)
  })
})
