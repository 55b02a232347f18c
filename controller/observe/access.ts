// How to reach the API server: @kubernetes/client-node reads the kubeconfig (or the pod's own account) and keeps tokens,
// client certificates and exec plugins fresh; undici carries the requests. Nothing else of that library is used.

import { createHash } from 'node:crypto'
import { KubeConfig } from '@kubernetes/client-node'
import { Agent, type Dispatcher, ProxyAgent } from 'undici'
import { ConfigError } from '../errors.ts'

/** TCP and TLS together. Short: while an API server is away packets may just vanish, and the next attempt may be the one. */
const connectTimeoutMs = 3000

/** What a request needs besides its path. */
export interface Access {
  dispatcher: Dispatcher
  /** Authorization and impersonation; a list is a header that is sent once for each. */
  headers: Record<string, string | string[]>
}

export interface Cluster {
  /** Origin and path prefix of the API server, without a trailing slash. */
  server: string
  /** Current credentials; cheap enough to be asked for each request. */
  access(): Promise<Access>
  close(): Promise<void>
}

/** The TLS part of what client-node hands out. */
interface TlsOptions {
  ca?: Buffer
  cert?: Buffer | string
  key?: Buffer | string
  pfx?: Buffer
  passphrase?: string
  servername?: string
  rejectUnauthorized?: boolean
}

interface HttpsOptions extends TlsOptions {
  headers?: Record<string, string>
  auth?: string
}

/**
 * Loads the configuration: KUBECONFIG, else ~/.kube/config, else the pod's own account.
 * @throws ConfigError that says what is missing in it
 */
export function loadCluster(): Cluster {
  const config = new KubeConfig()
  try {
    config.loadFromDefault()
  } catch (thrown) {
    throw new ConfigError(`the kubeconfig can't be read: ${thrown instanceof Error ? thrown.message : thrown}`)
  }
  return openCluster(config)
}

/**
 * Makes the current context of a loaded configuration usable.
 * @throws ConfigError that says what is missing in it
 */
export function openCluster(config: KubeConfig): Cluster {
  const cluster = config.getCurrentCluster()
  if (cluster === null) {
    throw new ConfigError(
      `the kubeconfig's current context "${config.getCurrentContext()}" names no cluster; set it with kubectl config use-context`,
    )
  }
  const url = new URL(cluster.server)
  if (url.protocol === 'http:' && !cluster.skipTLSVerify) {
    if (!isLoopback(url.hostname)) {
      throw new ConfigError(
        `the kubeconfig's server ${cluster.server} is plain http on a foreign address: tokens would travel in the clear`,
      )
    }
    // client-node refuses plain http unless this is set; on loopback there is nothing to verify.
    config.loadFromOptions({
      clusters: config.clusters.map((each) => (each.name === cluster.name ? { ...each, skipTLSVerify: true } : each)),
      users: config.users,
      contexts: config.contexts,
      currentContext: config.currentContext,
    })
  }
  if (cluster.proxyUrl?.startsWith('socks')) {
    throw new ConfigError(`the kubeconfig's proxy-url ${cluster.proxyUrl} is a SOCKS proxy; only http(s) is supported`)
  }

  let dispatcher: Dispatcher | null = null
  let fingerprint = ''

  async function access(): Promise<Access> {
    const options: HttpsOptions = {}
    await config.applyToHTTPSOptions(options as Parameters<KubeConfig['applyToHTTPSOptions']>[0])
    const { headers = {}, auth, ...rest } = options
    const tls = pickTls(rest)
    const print = digest(tls)
    if (dispatcher === null || print !== fingerprint) {
      // Rotated certificates: watches in flight end with the old connections' own time-out.
      dispatcher?.close().catch(() => {})
      dispatcher = makeDispatcher(cluster?.proxyUrl, tls)
      fingerprint = print
    }
    if (auth !== undefined) headers['Authorization'] = `Basic ${Buffer.from(auth).toString('base64')}`
    return { dispatcher, headers }
  }

  async function close(): Promise<void> {
    await dispatcher?.destroy()
  }

  return { server: url.href.replace(/\/$/, ''), access, close }
}

function pickTls(options: TlsOptions): TlsOptions {
  const { ca, cert, key, pfx, passphrase, servername, rejectUnauthorized } = options
  return Object.fromEntries(
    Object.entries({ ca, cert, key, pfx, passphrase, servername, rejectUnauthorized }).filter(
      ([, value]) => value !== undefined,
    ),
  )
}

function digest(tls: TlsOptions): string {
  const hash = createHash('sha256')
  for (const [name, value] of Object.entries(tls))
    hash.update(`${name}=`).update(Buffer.isBuffer(value) ? value : String(value))
  return hash.digest('hex')
}

function makeDispatcher(proxyUrl: string | undefined, tls: TlsOptions): Dispatcher {
  // HTTP/1.1: a watch has a connection of its own, so that one that hangs takes no other with it. Dead peers are noticed
  // by TCP keep-alive (libuv: 10 probes, a second apart, after the delay).
  const connect = { ...tls, keepAlive: true, keepAliveInitialDelay: 15_000, timeout: connectTimeoutMs }
  if (proxyUrl !== undefined && proxyUrl !== '') {
    return new ProxyAgent({ uri: proxyUrl, requestTls: tls, allowH2: false })
  }
  return new Agent({ connect, allowH2: false, keepAliveTimeout: 60_000, pipelining: 1 })
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '[::1]' || host.startsWith('127.')
}
