// The budget of file descriptors.

import { expect } from 'chai'
import { fitConnections, openFilesLimit } from '../../agent/budget.ts'
import { readConfig } from '../../agent/config.ts'

function config(...more: string[]) {
  return readConfig(['--node', 'n', '--pod', 'p', '--address', '10.0.0.1', '--controller', 'http://c:1', ...more], {})
}

describe('agent/budget', () => {
  it('leaves the limit as it is where there is room', () => {
    expect(fitConnections(config(), 1_048_576, 400)).to.equal(10_000)
    expect(fitConnections(config(), Number.POSITIVE_INFINITY, 0)).to.equal(10_000)
  })

  it('lowers it to what the open files allow: two for a connection, and every port on every thread', () => {
    expect(fitConnections(config('--data-threads', '2'), 20_256, 999)).to.equal((10_000 - 1000) / 2)
  })

  it('fails with the figures where next to nothing is left', () => {
    expect(() => fitConnections(config('--data-threads', '2'), 1024, 100)).to.throw(
      'the limit of open files is 1024, but 2 data threads with 100 mesh ports need at least 1482; raise it',
    )
    expect(fitConnections(config('--connection-limit', '100'), 1024, 100)).to.equal(100)
  })

  it('reads the limit as the kernel writes it', () => {
    const line = (soft: string) =>
      `Limit                     Soft Limit           Hard Limit           Units\nMax open files            ${soft}                524288               files\n`
    expect(openFilesLimit(line('1024'))).to.equal(1024)
    expect(openFilesLimit(line('unlimited'))).to.equal(Number.POSITIVE_INFINITY)
    expect(openFilesLimit('')).to.equal(Number.POSITIVE_INFINITY)
  })
})
