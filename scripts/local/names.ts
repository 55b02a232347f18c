// Gives a Node process of local mode what a pod's network namespace and resolv.conf give it in a cluster: cluster names,
// an address of its own to call from, and an address of its own to listen on. The kubelet stand-in preloads it
// (`node --import`) into every container; nothing of the product knows of it.

import type { Socket as Datagram } from 'node:dgram'
import dns from 'node:dns'
import { flushCompileCache, syncBuiltinESMExports } from 'node:module'
import net from 'node:net'
import type * as codec from 'dns-packet'

const address = process.env.LOCAL_POD_ADDRESS
const namespace = process.env.LOCAL_POD_NAMESPACE
const server = process.env.LOCAL_DNS_SERVER

/** A resolver waits this long for an answer before it asks again, and this often in all. */
const timeoutMs = 1000
const attempts = 3
/** As Kubernetes sets it in resolv.conf: a name with fewer dots is tried with the search domains first. */
const ndots = 5
/** Where DNS messages say how it went (RFC 1035 section 4.1.1). */
const rcodeMask = 0xf
const servfail = 2

/** By then a program has loaded what it needs. */
const flushAfterMs = 4000

type LookupAll = (error: NodeJS.ErrnoException | null, addresses: dns.LookupAddress[]) => void

interface Waiting {
  settle(response: codec.DecodedPacket | null): void
}

/** What only threads that look names up need: the others, such as an agent's data threads, go without its memory. */
interface Resolver {
  packet: typeof codec
  socket: Datagram
}

let resolver: Promise<Resolver> | undefined
let nextId = 1
const waiting = new Map<number, Waiting>()

async function open(): Promise<Resolver> {
  const [{ createSocket }, packet] = await Promise.all([import('node:dgram'), import('dns-packet')])
  const socket = createSocket('udp4')
  socket.on('message', (message) => {
    try {
      const response = packet.decode(message)
      waiting.get(response.id ?? -1)?.settle(response)
    } catch {
      // A datagram that is no DNS message answers nobody; the question is asked again.
    }
  })
  socket.on('error', () => {})
  socket.bind(0, address)
  socket.unref()
  return { packet, socket }
}

async function ask(name: string): Promise<codec.DecodedPacket | null> {
  resolver ??= open()
  const { packet, socket } = await resolver
  const [host = '', port = ''] = server!.split(':')
  const id = nextId
  nextId = nextId >= 0xffff ? 1 : nextId + 1
  const query = packet.encode({ type: 'query', id, flags: packet.RECURSION_DESIRED, questions: [{ type: 'A', name }] })
  return new Promise((resolve) => {
    let left = attempts
    let timer: NodeJS.Timeout
    const settle = (response: codec.DecodedPacket | null) => {
      clearTimeout(timer)
      waiting.delete(id)
      resolve(response)
    }
    const send = () => {
      if (left-- === 0) return settle(null)
      socket.send(query, Number(port), host)
      timer = setTimeout(send, timeoutMs)
    }
    waiting.set(id, { settle })
    send()
  })
}

/** The names that are tried for one that a program asks for, in order (resolv.conf(5): search, ndots). */
function candidates(name: string, home: string): string[] {
  if (name.endsWith('.')) return [name.slice(0, -1)]
  const searched = [`${home}.svc.cluster.local`, 'svc.cluster.local', 'cluster.local'].map((zone) => `${name}.${zone}`)
  return name.split('.').length > ndots ? [name, ...searched] : [...searched, name]
}

async function resolve(hostname: string): Promise<dns.LookupAddress[]> {
  let silent = false
  for (const name of candidates(hostname, namespace!)) {
    const response = await ask(name)
    const addresses = (response?.answers ?? []).flatMap((answer) => (answer.type === 'A' ? [answer.data] : []))
    if (addresses.length > 0) return addresses.map((found) => ({ address: found, family: 4 }))
    if (response === null || ((response.flags ?? 0) & rcodeMask) === servfail) silent = true
  }
  const code = silent ? 'EAI_AGAIN' : 'ENOTFOUND'
  throw Object.assign(new Error(`getaddrinfo ${code} ${hostname}`), { code, syscall: 'getaddrinfo', hostname })
}

function isLocal(hostname: string): boolean {
  return !hostname || net.isIP(hostname) !== 0 || hostname === 'localhost' || hostname.endsWith('.localhost')
}

function patchLookup(): void {
  const { lookup } = dns
  const patched = (hostname: string, ...rest: unknown[]): void => {
    const callback = rest.pop() as LookupAll & ((error: Error | null, address: string, family: number) => void)
    const options = rest[0] as dns.LookupOptions | number | undefined
    if (isLocal(hostname)) {
      Reflect.apply(lookup, dns, [hostname, ...rest, callback])
      return
    }
    const all = typeof options === 'object' && options.all === true
    resolve(hostname).then(
      (found) => (all ? callback(null, found) : callback(null, found[0]!.address, 4)),
      (error) => callback(error, undefined as never, undefined as never),
    )
  }
  dns.lookup = patched as unknown as typeof dns.lookup
  const { lookup: promised } = dns.promises
  const patchedPromise = async (hostname: string, options?: dns.LookupOptions) => {
    if (isLocal(hostname)) return promised(hostname, options ?? {})
    const found = await resolve(hostname)
    return options?.all ? found : found[0]
  }
  dns.promises.lookup = patchedPromise as typeof dns.promises.lookup
}

interface Options {
  port?: unknown
  host?: string
  path?: string
  fd?: number
  localAddress?: string
}

/** Finds the options in the arguments of connect() or listen() and lets them be changed; other forms stay as they are. */
function withOptions(args: unknown[], change: (options: Options) => Options): unknown[] {
  const [first, second, ...rest] = args
  if (Array.isArray(first)) {
    // Already normalized by net itself, which marks the array: so it is changed in place.
    first[0] = change(first[0] as Options)
    return args
  }
  if (typeof first === 'object' && first !== null) return 'path' in first ? args : [change(first), second, ...rest]
  if (typeof first === 'string' && Number.isNaN(Number(first))) return args
  if (typeof first === 'function') return [change({}), first]
  const port: Options = { port: first ?? 0 }
  return typeof second === 'string' ? [change({ ...port, host: second }), ...rest] : [change(port), second, ...rest]
}

function patchSockets(own: string): void {
  const { connect } = net.Socket.prototype
  net.Socket.prototype.connect = function (this: net.Socket, ...args: unknown[]) {
    const bound = withOptions(args, (options) => {
      const isOther = options.path || options.localAddress || net.isIPv6(options.host ?? '')
      return isOther ? options : { ...options, localAddress: own }
    })
    return Reflect.apply(connect, this, bound)
  } as typeof connect
  const { listen } = net.Server.prototype
  const anywhere = new Set([undefined, '', '0.0.0.0', '::', '127.0.0.1', '::1', 'localhost'])
  net.Server.prototype.listen = function (this: net.Server, ...args: unknown[]) {
    const bound = withOptions(args, (options) => {
      const isOther = options.path || options.fd !== undefined || '_handle' in options || !anywhere.has(options.host)
      return isOther ? options : { ...options, host: own }
    })
    return Reflect.apply(listen, this, bound)
  } as typeof listen
}

if (address !== undefined) patchSockets(address)
if (namespace !== undefined && server !== undefined) patchLookup()
syncBuiltinESMExports()
// Node keeps what it has compiled when a process ends by itself; those of pods are mostly killed.
setTimeout(flushCompileCache, flushAfterMs).unref()
