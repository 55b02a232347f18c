// The controller's flags and variables.

import { expect } from 'chai'
import { HelpWanted, readConfig } from '../../controller/config.ts'
import { ConfigError } from '../../controller/errors.ts'
import { defaultSettings } from '../../controller/resolve/settings.ts'

function refusal(args: string[], environment: Record<string, string> = {}): string {
  try {
    readConfig(args, environment)
  } catch (thrown) {
    if (thrown instanceof ConfigError) return thrown.message
    throw thrown
  }
  throw new Error('was accepted')
}

describe('controller configuration', () => {
  it('has defaults for everything', () => {
    const config = readConfig([], {})
    expect(config).to.include({ address: '', port: 15010, statsPort: 15020, logLevel: 'info' })
    expect(config).to.include({ adminPort: 15000, adminAddress: '127.0.0.1' })
    expect(config.settings).to.deep.equal(defaultSettings)
    expect(config.lease).to.deep.equal({ leaseMs: 15_000, renewMs: 10_000, retryMs: 2000 })
    expect(Object.isFrozen(config) && Object.isFrozen(config.settings)).to.equal(true)
  })

  it('takes flags before variables before defaults', () => {
    const environment = { WEFT_PORT: '1000', WEFT_NAMESPACE: 'mesh', WEFT_MESH_DOMAIN: '' }
    const config = readConfig(['--port', '2000'], environment)
    expect(config.port).to.equal(2000)
    expect(config.settings.namespace).to.equal('mesh')
    expect(config.settings.meshDomain).to.equal('mesh.internal')
  })

  it('is not misled by what Kubernetes sets for Services named weft…', () => {
    const config = readConfig([], {
      WEFT_PORT: 'tcp://10.96.0.7:15001',
      WEFT_PORT_15001_TCP_ADDR: '10.96.0.7',
      WEFT_SERVICE_HOST: '10.96.0.7',
      WEFT_CONTROLLER_SERVICE_PORT_LINK: '15010',
    })
    expect(config.port).to.equal(15010)
    expect(config.unknownVariables).to.deep.equal([])
  })

  it('takes lifetimes of certificates that make sense', () => {
    expect(readConfig([], {}).certificateMs).to.equal(86_400_000)
    expect(readConfig(['--certificate-lifetime', '1h'], {}).certificateMs).to.equal(3_600_000)
    for (const text of ['1s', '2161h', '1d']) {
      expect(refusal(['--certificate-lifetime', text])).to.match(/^--certificate-lifetime: /)
    }
  })

  it('names variables that mean nothing', () => {
    expect(readConfig([], { WEFT_PROT: '1', HOME: '/' }).unknownVariables).to.deep.equal(['WEFT_PROT'])
  })

  it('reads lists, ranges, durations and labels', () => {
    const { settings, lease } = readConfig(
      [
        ...['--mesh-ports', '20000-20010', '--foreign-cidrs', '192.0.2.0/24, 2001:db8::/32'],
        ...['--foreign-hosts', 'example.com,*.example.org', '--agent-selector', 'app=agent,tier=mesh'],
        ...['--excluded-namespaces', '', '--lease-duration', '1m', '--lease-renew', '40s'],
      ],
      { WEFT_DEFAULT_ACCESS: 'deny', WEFT_API_SERVERS: '10.0.0.1' },
    )
    expect(settings).to.deep.include({
      meshPorts: { first: 20000, last: 20010 },
      foreignCidrs: ['192.0.2.0/24', '2001:db8::/32'],
      foreignHosts: ['example.com', '*.example.org'],
      agentSelector: { app: 'agent', tier: 'mesh' },
      excludedNamespaces: [],
      defaultAccess: 'deny',
      apiServers: ['10.0.0.1'],
    })
    expect(lease).to.include({ leaseMs: 60_000, renewMs: 40_000 })
  })

  for (const [args, environment, why] of [
    [['--prot', '1'], {}, "unknown option '--prot'"],
    [['extra'], {}, 'too many arguments'],
    [['--port'], {}, 'argument missing'],
    [['--port', '70000'], {}, "--port: '70000' is not a whole number from 0 to 65535"],
    [['--port', '15020'], {}, '--stats-port: port 15020 is also --port'],
    [['--admin-port', '15020'], {}, '--admin-port: port 15020 is also --stats-port'],
    [[], { WEFT_MESH_PORTS: '9-1' }, "WEFT_MESH_PORTS: '9-1' is not a range: its first port is above its last"],
    [['--mesh-ports', '16384'], {}, "--mesh-ports: '16384' is not a range such as 16384-32767"],
    [['--default-access', 'maybe'], {}, "--default-access: 'maybe' is not one of allow, deny"],
    [['--alias-suffix', '.mesh'], {}, "--alias-suffix: '.mesh' is not a suffix"],
    [['--mesh-domain', 'Mesh'], {}, "--mesh-domain: 'Mesh' is not a DNS name"],
    [['--foreign-cidrs', '10.0.0.0/33'], {}, "--foreign-cidrs: '10.0.0.0/33' is not a CIDR"],
    [['--agent-selector', 'x'], {}, "--agent-selector: 'x' is not a list of labels"],
    [['--lease-renew', '15s'], {}, '--lease-renew must be below --lease-duration'],
    [['--lease-retry', '8s'], {}, '--lease-retry must be at most half of --lease-renew'],
    [['--log-level', 'loud'], {}, "--log-level: 'loud' is not one of"],
  ] as [string[], Record<string, string>, string][]) {
    it(`refuses ${args.join(' ') || JSON.stringify(environment)}`, () => {
      expect(refusal(args, environment)).to.contain(why)
    })
  }

  it('explains itself', () => {
    expect(() => readConfig(['--help'], {}))
      .to.throw(HelpWanted)
      .with.property('message')
      .that.includes('--mesh-ports <FIRST-LAST>')
  })
})
