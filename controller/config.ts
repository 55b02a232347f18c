// The controller's configuration: flags, else environment variables, else defaults → one frozen object. The table below
// is the one place of every default, each with its reason.

import { hostname } from 'node:os'
import { Command, CommanderError } from 'commander'
import { ConfigError } from './errors.ts'
import {
  addressOrAny,
  cidr,
  domain,
  duration,
  ip,
  label,
  labelSelector,
  lifetime,
  list,
  OptionError,
  oneOf,
  type Parse,
  port,
  portRange,
  suffix,
  wildcardDomain,
} from './options.ts'
import { defaultSettings, type Settings } from './resolve/settings.ts'

interface Option<T> {
  parse: Parse<T>
  value: string
  fallback: string
  help: string
}

function option<T>(parse: Parse<T>, value: string, fallback: string, help: string): Option<T> {
  return { parse, value, fallback, help }
}

const levels = ['error', 'warn', 'info', 'debug', 'trace'] as const

const options = {
  // Unsaid: IPv6 and IPv4 where a node has both, else what it has.
  address: option(addressOrAny, 'IP', '', 'where the ports listen (default: everywhere)'),
  port: option(port, 'PORT', '15010', "the agents' link"),
  // The same numbers as the agents': one rule for scraping, one for port-forward.
  'stats-port': option(port, 'PORT', '15020', '/readyz, /livez, /metrics'),
  'admin-port': option(port, 'PORT', '15000', '/debug'),
  // The dumps show every tenant's Services and rules: only who may port-forward to this pod may read them.
  'admin-address': option(ip, 'IP', '127.0.0.1', 'where the admin port listens'),
  'admission-port': option(port, 'PORT', '15017', 'the validating webhook'),
  namespace: option(label, 'NAME', defaultSettings.namespace, "the mesh's own namespace"),
  // A pod's host name is its name; the manifests say it explicitly all the same.
  pod: option((text) => text, 'NAME', hostname(), "this replica's name in leases, Events and logs"),
  'mesh-service': option(label, 'NAME', defaultSettings.meshService, 'name of the mesh Service'),
  // .internal is reserved for private use: no public name is ever shadowed.
  'mesh-domain': option(domain, 'DOMAIN', defaultSettings.meshDomain, "what the agents' DNS answers for"),
  'cluster-domain': option(domain, 'DOMAIN', defaultSettings.clusterDomain, "the cluster's DNS domain"),
  'trust-domain': option(domain, 'DOMAIN', defaultSettings.trustDomain, 'of the identities'),
  // As the meshes people come from: a stolen key is worth a day, an authority that is away is not noticed for half of one.
  'certificate-lifetime': option(lifetime, 'DURATION', '24h', "of the pods' and agents' certificates, 5m to 2160h"),
  'alias-suffix': option(suffix, 'SUFFIX', defaultSettings.aliasSuffix, "added to a Service's name for its alias"),
  'agent-selector': option(labelSelector, 'LABELS', 'app.kubernetes.io/name=weft-agent', "labels of the agents' pods"),
  // Below Linux's ephemeral range (32768 up), whose outgoing connections would take the ports away.
  'mesh-ports': option(portRange, 'FIRST-LAST', '16384-32767', 'range of mesh ports; must match the agents'),
  'entry-port': option(port, 'PORT', '15001', "the agents' entry port"),
  'hbone-port': option(port, 'PORT', '15008', "the agents' HBONE port"),
  // A mesh that refuses traffic on the day it is installed is removed on the same day.
  'default-access': option(oneOf('allow', 'deny'), 'MODE', 'allow', 'mode of namespaces without weft.dev/access'),
  'excluded-namespaces': option(
    list(label),
    'NAMES',
    defaultSettings.excludedNamespaces.join(','),
    'never in the mesh',
  ),
  // A tenant must not use an agent to reach what it could not reach itself.
  'foreign-cidrs': option(list(cidr), 'CIDRS', '', 'where endpoints may lie that belong to no pod'),
  'foreign-hosts': option(list(wildcardDomain), 'NAMES', '', 'where ExternalName Services may point to'),
  'api-servers': option(list(ip), 'IPS', '', 'API servers besides those of default/kubernetes: never endpoints'),
  // As client-go's defaults: what operators know from every other controller.
  'lease-duration': option(duration, 'DURATION', '15s', 'after which another replica takes over'),
  'lease-renew': option(duration, 'DURATION', '10s', 'after which a leader that can not renew steps down'),
  'lease-retry': option(duration, 'DURATION', '2s', 'between attempts to take or renew the lease'),
  'log-level': option(oneOf(...levels), levels.join('|'), 'info', 'least severity that is logged'),
}

type Values = { [K in keyof typeof options]: (typeof options)[K] extends Option<infer V> ? V : never }

export interface ControllerConfig {
  readonly address: string
  readonly port: number
  readonly statsPort: number
  readonly adminPort: number
  readonly adminAddress: string
  readonly admissionPort: number
  readonly pod: string
  readonly settings: Readonly<Settings>
  readonly certificateMs: number
  readonly lease: Readonly<{ leaseMs: number; renewMs: number; retryMs: number }>
  readonly logLevel: (typeof levels)[number]
  /** Variables that look meant for us and are not: worth a warning. */
  readonly unknownVariables: readonly string[]
}

/** The text of --help, and that it was asked for. */
export class HelpWanted extends Error {}

/**
 * Reads the configuration.
 * @param args the command line without the program
 * @throws ConfigError naming the flag or variable at fault; HelpWanted with the text for standard output
 */
export function readConfig(
  args: readonly string[],
  environment: Readonly<Record<string, string | undefined>>,
): ControllerConfig {
  const flags = readFlags(args)
  const values: Record<string, unknown> = {}
  for (const [name, { parse, fallback }] of Object.entries(options)) {
    const variable = variableOf(name)
    const given = flags[name] ?? ownVariable(environment, variable)
    try {
      values[name] = (parse as Parse<unknown>)(given ?? fallback)
    } catch (thrown) {
      if (!(thrown instanceof OptionError)) throw thrown
      const where = flags[name] !== undefined ? `--${name}` : given !== undefined ? variable : `default of --${name}`
      throw new ConfigError(`${where}: ${thrown.message}`)
    }
  }
  return assemble(values as Values, unknownVariables(environment))
}

function variableOf(name: string): string {
  return `WEFT_${name.replaceAll('-', '_').toUpperCase()}`
}

/** An empty variable is an unset one; what Kubernetes sets for a Service named `weft` (service links) is not ours. */
function ownVariable(environment: Readonly<Record<string, string | undefined>>, name: string): string | undefined {
  const value = environment[name]
  return value === '' || value?.startsWith('tcp://') ? undefined : value
}

const serviceLink = /_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_\w+)?)?)$/

function unknownVariables(environment: Readonly<Record<string, string | undefined>>): string[] {
  const known = new Set(Object.keys(options).map(variableOf))
  return Object.keys(environment)
    .filter((name) => name.startsWith('WEFT_') && !known.has(name) && !serviceLink.test(name))
    .sort()
}

function readFlags(args: readonly string[]): Record<string, string | undefined> {
  let printed = ''
  const print = (part: string) => {
    printed += part
  }
  const command = new Command('weft-controller')
    .description("Weft's controller: tells the agents what to do. Each option is also a variable WEFT_….")
    .exitOverride()
    .allowExcessArguments(false)
    .configureOutput({ writeOut: print, writeErr: print })
  for (const [name, { value, fallback, help }] of Object.entries(options)) {
    command.option(`--${name} <${value}>`, fallback === '' ? help : `${help} (default ${fallback})`)
  }
  try {
    command.parse(args, { from: 'user' })
  } catch (thrown) {
    if (!(thrown instanceof CommanderError)) throw thrown
    if (thrown.exitCode === 0) throw new HelpWanted(printed)
    throw new ConfigError(printed.replace(/^error: /, '').trim())
  }
  const parsed: Record<string, string | undefined> = command.opts()
  return Object.fromEntries(command.options.map((each) => [each.name(), parsed[each.attributeName()]]))
}

/** Two servers on one port would only show as EADDRINUSE. */
function checkPorts(values: Values): void {
  const taken = new Map<number, string>()
  for (const name of ['port', 'stats-port', 'admin-port', 'admission-port'] as const) {
    const number = values[name]
    if (number === 0) continue
    const other = taken.get(number)
    if (other !== undefined) throw new ConfigError(`--${name}: port ${number} is also --${other}`)
    taken.set(number, name)
  }
}

function assemble(values: Values, unknown: string[]): ControllerConfig {
  const lease = { leaseMs: values['lease-duration'], renewMs: values['lease-renew'], retryMs: values['lease-retry'] }
  if (lease.renewMs >= lease.leaseMs) {
    throw new ConfigError('--lease-renew must be below --lease-duration: else two replicas could lead at once')
  }
  if (lease.retryMs * 2 > lease.renewMs) {
    throw new ConfigError('--lease-retry must be at most half of --lease-renew: else one lost request ends leadership')
  }
  checkPorts(values)
  return Object.freeze({
    address: values.address,
    port: values.port,
    statsPort: values['stats-port'],
    adminPort: values['admin-port'],
    adminAddress: values['admin-address'],
    admissionPort: values['admission-port'],
    pod: values.pod,
    settings: Object.freeze({
      trustDomain: values['trust-domain'],
      clusterDomain: values['cluster-domain'],
      meshDomain: values['mesh-domain'],
      aliasSuffix: values['alias-suffix'],
      namespace: values.namespace,
      meshService: values['mesh-service'],
      agentSelector: values['agent-selector'],
      meshPorts: values['mesh-ports'],
      entryPort: values['entry-port'],
      hbonePort: values['hbone-port'],
      defaultAccess: values['default-access'],
      excludedNamespaces: values['excluded-namespaces'],
      foreignCidrs: values['foreign-cidrs'],
      foreignHosts: values['foreign-hosts'],
      apiServers: values['api-servers'],
    }),
    certificateMs: values['certificate-lifetime'],
    lease: Object.freeze(lease),
    logLevel: values['log-level'],
    unknownVariables: unknown,
  })
}
