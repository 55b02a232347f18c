// The controller's HTTP servers: order of handlers, taken ports, end, TLS.

import { request } from 'node:https'
import { connect } from 'node:net'
import { expect } from 'chai'
import { ConfigError } from '../../controller/errors.ts'
import { type Handler, type Server, startServer } from '../../controller/serve.ts'
import { testLeaf, testRoot } from '../support/certificates.ts'
import { until } from '../support/until.ts'

const echo: Handler = ({ url }, response) => {
  if (url !== '/mine') return false
  response.end('mine')
  return true
}

describe('servers of the controller', () => {
  const open: Server[] = []

  afterEach(async () => {
    await Promise.all(open.splice(0).map((each) => each.close(100)))
  })

  async function start(...args: Parameters<typeof startServer>): Promise<Server> {
    const server = await startServer(...args)
    open.push(server)
    return server
  }

  it('ask their handlers in turn, and answer 404 for what none wants', async () => {
    const { port } = await start('127.0.0.1', 0, [() => false, echo])
    const url = `http://127.0.0.1:${port}`
    expect(await (await fetch(`${url}/mine`)).text()).to.equal('mine')
    expect((await fetch(`${url}/yours`)).status).to.equal(404)
  })

  it('say in one line that their port is taken', async () => {
    const { port } = await start('127.0.0.1', 0, [])
    let failure: unknown
    await startServer('127.0.0.1', port, []).catch((thrown) => {
      failure = thrown
    })
    expect(failure).to.be.instanceOf(ConfigError)
    expect((failure as Error).message).to.equal(`can't listen on 127.0.0.1:${port}: EADDRINUSE`)
  })

  it('cut what is still open after the grace', async () => {
    const hanging = await start('127.0.0.1', 0, [() => true])
    const socket = connect(hanging.port, '127.0.0.1')
    let isClosed = false
    socket.on('close', () => {
      isClosed = true
    })
    socket.on('error', () => {})
    socket.write('GET /slow HTTP/1.1\r\nhost: c\r\n\r\n')
    await until(() => socket.bytesWritten > 0)
    await hanging.close(50)
    await until(() => isClosed)
  })

  it('speak TLS with what they are given, and hand over their server to who keeps that up to date', async () => {
    const root = testRoot()
    const leaf = testLeaf(root, 'spiffe://cluster.local/ns/weft-system/sa/weft-controller')
    let attached = 0
    const { port } = await start('127.0.0.1', 0, [echo], {
      options: () => ({ cert: leaf.pem, key: leaf.keyPem }),
      attach: () => attached++,
    })
    const status = await new Promise<number | undefined>((resolve, reject) => {
      const options = { host: '127.0.0.1', port, path: '/mine', ca: root.pem, checkServerIdentity: () => undefined }
      request(options, (response) => resolve(response.resume().statusCode))
        .on('error', reject)
        .end()
    })
    expect(status).to.equal(200)
    expect(attached).to.equal(1)
  })
})
