// A tunnel port that could not be opened was tried again with every snapshot, and each try left its listeners on the server.

import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { expect } from 'chai'
import { emptyStand } from '../../agent/mesh/apply.ts'
import { type PortFailure, Ports } from '../../agent/ports.ts'
import { until } from '../support/until.ts'

describe('regress: a port that is taken', () => {
  it('is tried again with each snapshot, and opened when it is free, without a trace of the tries', async () => {
    const other = createServer().listen(0, '127.0.0.1')
    await once(other, 'listening')
    const { port } = other.address() as AddressInfo
    const tunnel = createServer()
    let settled = 0
    let failed: PortFailure[] = []
    const ports = new Ports({
      addresses: ['127.0.0.1'],
      entryPort: 0,
      isShared: false,
      onWire: (wire) => wire.destroy(),
      onChanged: () => undefined,
      tunnel: { port, server: tunnel },
      onSettled: (_version, _open, failures) => {
        settled++
        failed = failures
      },
    })
    const { snapshot } = emptyStand
    for (let count = 0; count < 15; count++) {
      const before = settled
      ports.update(snapshot)
      await until(() => settled > before && failed.length === 1, 'the failure')
      expect(failed[0]!.port).to.equal(port)
    }
    expect(tunnel.listenerCount('error')).to.be.at.most(2)
    expect(tunnel.listenerCount('listening')).to.equal(0)
    other.close()
    await once(other, 'close')
    ports.update(snapshot)
    await until(() => tunnel.listening && failed.length === 0, 'the open port')
    ports.close()
  })
})
