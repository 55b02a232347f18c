// The command line and the environment of the agent.

import { expect } from 'chai'
import { isLogLevel, readConfig, UsageError, unknownSettings } from '../../agent/config.ts'

const needed = ['--node', 'node1', '--pod', 'weft-agent-x', '--address', '10.1.0.2', '--controller', 'http://c:15010']

function refusalOf(args: string[], environment: Record<string, string> = {}): UsageError {
  try {
    readConfig(args, environment)
  } catch (error) {
    if (error instanceof UsageError) return error
    throw error
  }
  throw new Error('it was accepted')
}

describe('agent/config', () => {
  it('has the defaults of the design', () => {
    const config = readConfig(needed, {})
    expect(config.ports).to.deep.equal({
      entry: 15001,
      meshFirst: 16384,
      meshLast: 32767,
      hbone: 15008,
      stats: 15020,
      admin: 15000,
      dns: 15053,
    })
    expect(config.timeouts).to.include({ connectMs: 1000, requestHeadMs: 10_000, firstByteMs: 15_000, idleMs: 300_000 })
    expect(config.limits).to.include({ headBytes: 16_384, headers: 100, bodyBufferBytes: 65_536, connections: 10_000 })
    expect(config.limits).to.include({
      inFlightPerCaller: 1024,
      queuePerCaller: 100,
      queueMs: 3000,
      callerWaitMs: 3000,
    })
    expect(config.retry).to.include({ attempts: 1, budgetRatio: 0.2, budgetMin: 10, backoffMs: 25, backoffMaxMs: 250 })
    expect(config.breaker).to.include({ consecutive: 7, successRate: 0.8, minimum: 5, openMs: 1000, maxOpenMs: 60_000 })
    expect(config.drain).to.deep.equal({ quietMs: 2000, minimumMs: 5000, deadlineMs: 55_000 })
    expect(config).to.include({ dataThreads: 1, accessLog: false, logLevel: 'info', adminAddress: '127.0.0.1' })
    expect(config.cacheFile).to.equal('/var/lib/weft/snapshot-node1')
  })

  it('is frozen, plain data', () => {
    const config = readConfig(needed, {})
    expect(structuredClone(config)).to.deep.equal(config)
    expect(Object.isFrozen(config)).to.equal(true)
    expect(Object.isFrozen(config.timeouts)).to.equal(true)
  })

  it('takes every option from the environment, where a flag wins', () => {
    const environment = {
      WEFT_NODE: 'node2',
      WEFT_POD: 'p',
      WEFT_ADDRESS: '10.1.0.3',
      WEFT_CONTROLLER: 'http://c:1',
      WEFT_IDLE_TIMEOUT: '90s',
      WEFT_ACCESS_LOG: 'true',
      WEFT_LOG_LEVEL: '',
    }
    const config = readConfig(['--node', 'node3'], environment)
    expect(config).to.include({ node: 'node3', address: '10.1.0.3', accessLog: true, logLevel: 'info' })
    expect(config.timeouts.idleMs).to.equal(90_000)
  })

  it('takes one address, or one of each IP family, the first of which is its own', () => {
    const read = (given: string) => readConfig([...needed, '--address', given], {})
    expect(read('10.1.0.3')).to.deep.include({ address: '10.1.0.3', addresses: ['10.1.0.3'] })
    expect(read('FD00:0::3')).to.deep.include({ address: 'fd00::3', addresses: ['fd00::3'] })
    expect(read('10.1.0.3,fd00::3')).to.deep.include({ address: '10.1.0.3', addresses: ['10.1.0.3', 'fd00::3'] })
    expect(read('fd00::3,10.1.0.3')).to.deep.include({ address: 'fd00::3', addresses: ['fd00::3', '10.1.0.3'] })
    expect(readConfig([...needed, '--admin-address', '::1'], {}).adminAddress).to.equal('::1')
  })

  it('derives the data threads from the CPU request, at most 4', () => {
    expect(readConfig([...needed, '--cpu-request', '2'], {}).dataThreads).to.equal(2)
    expect(readConfig([...needed, '--cpu-request', '16'], {}).dataThreads).to.equal(4)
    expect(readConfig([...needed, '--cpu-request', '0'], {}).dataThreads).to.equal(1)
    expect(readConfig([...needed, '--cpu-request', '2', '--data-threads', '6'], {}).dataThreads).to.equal(6)
  })

  const bad: [string, string[], RegExp][] = [
    ['an unknown flag', ['--idle', '5s'], /unknown option '--idle'/],
    ['a stray argument', ['extra'], /too many arguments/],
    ['a duration without unit', ['--idle-timeout', '5'], /^--idle-timeout: '5' is not a duration such as 250ms/],
    ['a duration beyond a timer', ['--idle-timeout', '900h'], /--idle-timeout: .*at most 596h/],
    ['a port out of range', ['--entry-port', '65536'], /--entry-port: '65536' is not a whole number from 0 to 65535/],
    ['a reversed range', ['--mesh-ports', '200-100'], /--mesh-ports: .*its first port is above its last/],
    ['half a range', ['--mesh-ports', '200'], /--mesh-ports: '200' is not a range such as 16384-32767/],
    [
      'a name as address',
      ['--address', 'pod-1'],
      /--address: 'pod-1' is not an IP address such as 10\.1\.2\.3 or fd00::3/,
    ],
    ['an address with a zone', ['--address', 'fe80::1%eth0'], /--address: 'fe80::1%eth0' is not an IP address/],
    ['two addresses of one family', ['--address', '10.1.0.3,10.1.0.4'], /--address: .*an IPv4 and an IPv6 address/],
    ['three addresses', ['--address', '10.1.0.3,::1,::2'], /--address: .*is not one IP address, or/],
    ['a controller with a path', ['--controller', 'http://c/v1'], /--controller: .*is not an origin/],
    ['a https controller without a token', ['--controller', 'https://c:1'], /--token-file is missing/],
    ['a share above 1', ['--retry-budget', '1.5'], /--retry-budget: '1.5' is not a share from 0 to 1/],
    ['a size with an unknown unit', ['--head-limit', '16KB'], /--head-limit: '16KB' is not a size/],
    ['an unknown level', ['--log-level', 'loud'], /--log-level: 'loud' is not one of error, warn, info, debug, trace/],
    ['a port used twice', ['--dns-port', '15001'], /--dns-port: port 15001 is also one of --entry-port/],
    ['a port amid the mesh ports', ['--stats-port', '20000'], /--stats-port: port 20000 is also one of --mesh-ports/],
  ]
  for (const [what, args, message] of bad) {
    it(`refuses ${what}`, () => {
      const error = refusalOf([...needed, ...args])
      expect(error.message).to.match(message)
      expect(error.exitCode).to.equal(64)
    })
  }

  it('names the variable at fault, and what is missing', () => {
    expect(refusalOf(needed, { WEFT_IDLE_TIMEOUT: 'x' }).message).to.match(/^WEFT_IDLE_TIMEOUT: 'x'/)
    expect(refusalOf(needed.slice(2)).message).to.match(/^--node \(or WEFT_NODE\) is missing: .*fieldRef/)
  })

  it('prints its help with exit code 0', () => {
    const help = refusalOf(['--help'])
    expect(help.exitCode).to.equal(0)
    expect(help.message).to.match(/--drain-deadline <DURATION>.*\(default 55s\)/)
  })

  it('lists misspelt variables, not service links', () => {
    const environment = {
      WEFT_IDLE_TIMOUT: '5s',
      WEFT_CONTROLLER_SERVICE_HOST: '10.0.0.1',
      WEFT_PORT_15001_TCP: 'tcp://x',
    }
    expect(unknownSettings({ ...environment, WEFT_NODE: 'n', HOME: '/' })).to.deep.equal(['WEFT_IDLE_TIMOUT'])
  })

  it('knows log levels', () => {
    expect(isLogLevel('debug')).to.equal(true)
    expect(isLogLevel('silly')).to.equal(false)
  })
})
