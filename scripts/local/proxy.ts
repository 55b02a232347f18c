// A stand-in for kube-proxy: listens on every ClusterIP and port and joins each connection with one endpoint, calling it
// from the caller's own address, as the kernel's address translation would. A user-space relay differs from the real one
// in one respect: a connection to a Service whose endpoint refuses is accepted first and reset then.

import net from 'node:net'
import type { Cluster } from './cluster.ts'
import type { EndpointSlice, Service, ServicePort } from './objects.ts'

export interface ProxyOptions {
  cluster: Cluster
  /** The node that an address belongs to; decides who is local. */
  nodeOf(address: string): string
  /** How long a change of Services or endpoints takes to have effect. kube-proxy's own minimum is 1 s. */
  delayMs?: number
  log?(message: string): void
}

export interface KubeProxy {
  /** The addresses listened on, as `address:port`. */
  addresses(): string[]
  /** Resolves when all changes up to now have taken effect. */
  settled(): Promise<void>
  close(): Promise<void>
}

interface Target {
  address: string
  port: number
  node: string
  ready: boolean
  /** Still answering although its pod ends: taken when no other is left. */
  terminating: boolean
}

interface Rule {
  localOnly: boolean
  targets: Target[]
}

interface Listener {
  server: net.Server
  rule: Rule
}

/** Starts the stand-in; it follows the cluster until closed. */
export function startProxy(options: ProxyOptions): KubeProxy {
  const { cluster, nodeOf, delayMs = 1000, log = () => {} } = options
  const listeners = new Map<string, Listener>()
  const sockets = new Set<net.Socket>()
  /** Addresses that can't be listened on (low ports, as a rule); told once, tried again with each change. */
  const refused = new Set<string>()
  let timer: NodeJS.Timeout | undefined
  const waiting: (() => void)[] = []

  const changed = () => {
    timer ??= setTimeout(() => {
      timer = undefined
      apply(rulesOf(cluster))
      for (const resolve of waiting.splice(0)) resolve()
    }, delayMs)
  }
  const unwatch = cluster.watch(['services', 'endpointslices'], changed)
  changed()

  function apply(rules: Map<string, Rule>): void {
    for (const [address, listener] of listeners) {
      if (rules.has(address)) continue
      // Connections that are open stay, as the kernel's connection table would keep them.
      listener.server.close()
      listeners.delete(address)
    }
    for (const [address, rule] of rules) {
      const listener = listeners.get(address)
      if (listener) listener.rule = rule
      else listen(address, rule)
    }
  }

  function listen(key: string, rule: Rule): void {
    const [address, port] = key.split(':')
    const server = net.createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true })
    const listener = { server, rule }
    listeners.set(key, listener)
    server.on('connection', (socket) => join(socket, listener.rule))
    server.on('error', (error) => {
      if (!refused.has(key)) log(`kube-proxy: ${error.message}`)
      refused.add(key)
      if (listeners.get(key) === listener) listeners.delete(key)
    })
    server.listen(Number(port), address)
  }

  function join(socket: net.Socket, rule: Rule): void {
    track(socket)
    const source = socket.remoteAddress
    const target = source === undefined ? undefined : choose(rule, nodeOf(source))
    if (target === undefined) {
      reset(socket)
      return
    }
    const upstream = net.connect({
      host: target.address,
      port: target.port,
      localAddress: source!,
      allowHalfOpen: true,
      noDelay: true,
    })
    track(upstream)
    relay(socket, upstream)
    relay(upstream, socket)
  }

  function track(socket: net.Socket): void {
    sockets.add(socket)
    // What an error means is decided by relay(); a socket that has no other side yet just goes.
    socket.on('error', () => {})
    socket.once('close', () => sockets.delete(socket))
  }

  return {
    addresses: () => [...listeners].filter(([, { server }]) => server.listening).map(([address]) => address),
    settled: () => new Promise((resolve) => (timer === undefined ? resolve() : waiting.push(resolve))),
    close: async () => {
      unwatch()
      clearTimeout(timer)
      for (const resolve of waiting.splice(0)) resolve()
      const closing = [...listeners.values()].map(({ server }) => new Promise((resolve) => server.close(resolve)))
      listeners.clear()
      for (const socket of sockets) reset(socket)
      await Promise.all(closing)
    },
  }
}

/** Bytes with back-pressure, an end as an end, and a reset as a reset, from one socket to the other. */
function relay(from: net.Socket, to: net.Socket): void {
  from.pipe(to)
  from.on('error', () => reset(to))
  from.on('close', () => {
    // Without an end before it, a close is the end of both directions.
    if (!from.readableEnded) reset(to)
  })
}

/**
 * Resets a connection. While its own end is on its way libuv refuses that, and Node would never close the socket, nor let
 * the process end: what was written was whole, so it is just closed.
 */
function reset(socket: net.Socket): void {
  if (socket.writableEnded && !socket.writableFinished) socket.destroy()
  else socket.resetAndDestroy()
}

/** One target at random, as iptables does: ready ones, else those that end but still serve. */
function choose(rule: Rule, node: string): Target | undefined {
  const near = rule.localOnly ? rule.targets.filter((target) => target.node === node) : rule.targets
  const ready = near.filter((target) => target.ready)
  const usable = ready.length > 0 ? ready : near.filter((target) => target.terminating)
  return usable[Math.floor(Math.random() * usable.length)]
}

/** What to listen on, as `address:port`, and where to send what comes. */
function rulesOf(cluster: Cluster): Map<string, Rule> {
  const rules = new Map<string, Rule>()
  const slices = cluster.list<EndpointSlice>('endpointslices')
  for (const service of cluster.list<Service>('services')) {
    const { clusterIP, ports = [], internalTrafficPolicy } = service.spec
    if (!clusterIP || clusterIP === 'None' || service.metadata.deletionTimestamp) continue
    const own = slices.filter(
      ({ metadata }) =>
        metadata.namespace === service.metadata.namespace &&
        metadata.labels?.['kubernetes.io/service-name'] === service.metadata.name,
    )
    for (const port of ports) {
      if ((port.protocol ?? 'TCP') !== 'TCP') continue
      const targets = own
        .flatMap((slice) => targetsOf(slice, port))
        .filter(({ ready, terminating }) => ready || terminating)
      // Without any endpoint the real one rejects: the caller sees a refused connection, which not listening is.
      if (targets.length === 0) continue
      rules.set(`${clusterIP}:${port.port}`, { localOnly: internalTrafficPolicy === 'Local', targets })
    }
  }
  return rules
}

function targetsOf(slice: EndpointSlice, port: ServicePort): Target[] {
  const found = (slice.ports ?? []).find((one) => (one.name ?? '') === (port.name ?? ''))
  if (!found?.port) return []
  return (slice.endpoints ?? []).map(({ addresses, conditions, nodeName }) => ({
    address: addresses[0]!,
    port: found.port!,
    node: nodeName ?? '',
    ready: conditions?.ready !== false,
    terminating: conditions?.terminating === true && conditions.serving !== false,
  }))
}
