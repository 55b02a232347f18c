// A server of the controller waited for connections that were still shaking hands when it closed: its end, and with it the
// end of the replica, took more than a minute.

import { once } from 'node:events'
import { connect } from 'node:net'
import { expect } from 'chai'
import { startServer } from '../../controller/serve.ts'
import { testLeaf, testRoot } from '../support/certificates.ts'

describe('regress: closing a server of the controller', () => {
  it('does not wait for handshakes that go no further', async () => {
    const leaf = testLeaf(testRoot(), 'spiffe://cluster.local/ns/weft-system/sa/weft-controller')
    const options = () => ({ key: leaf.keyPem, cert: leaf.pem })
    const server = await startServer('127.0.0.1', 0, [], { options, attach: () => undefined })
    const socket = connect(server.port, '127.0.0.1')
    socket.on('error', () => undefined).resume()
    const closed = once(socket, 'close')
    await once(socket, 'connect')
    // A record that promises more than it has.
    socket.write(Buffer.from([0x16, 3, 1, 2, 0, 1]))
    await new Promise((resolve) => socket.write('', resolve))
    const began = performance.now()
    await server.close(50)
    expect(performance.now() - began).to.be.below(10_000)
    await closed
  })
})
