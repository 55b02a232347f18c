// Runs in a pod, where the tests send it: calls a URL over several connections, half of them kept and half new for each
// request, until its standard input ends; then prints what happened as one line of JSON. It repeats nothing: what a client's
// own retry would hide is counted. Only Node's own modules.

import http from 'node:http'

export interface ClientOptions {
  url: string
  /** Callers at work at the same time. */
  callers: number
  /** Each caller rests so long between two requests. */
  pauseMs: number
  /** Ends by itself after so many requests. */
  most?: number
  /** Only kept connections. */
  keptOnly?: boolean
}

/** When a service that names itself in `x-shop-service` answered, in ms since the epoch. */
export interface Seen {
  count: number
  first: number
  last: number
}

export interface ClientResult {
  requests: number
  /** What failed, each with the time; the first hundred. */
  failures: { at: number; what: string }[]
  failed: number
  services: Record<string, Seen>
  pods: Record<string, number>
  /** Addresses that the connections had as their local end. */
  addresses: string[]
  p50Ms: number
  p99Ms: number
  maxMs: number
}

const options = JSON.parse(process.argv.at(-1) ?? '') as ClientOptions
const result: ClientResult = {
  requests: 0,
  failures: [],
  failed: 0,
  services: {},
  pods: {},
  addresses: [],
  p50Ms: 0,
  p99Ms: 0,
  maxMs: 0,
}
const durations: number[] = []
const addresses = new Set<string>()
let isStopping = false

process.stdin.on('end', () => {
  isStopping = true
})
process.stdin.resume()

function once(agent: http.Agent | false): Promise<void> {
  return new Promise((resolve) => {
    const start = performance.now()
    let isOver = false
    const over = (failure: string | null) => {
      if (isOver) return
      isOver = true
      result.requests++
      durations.push(performance.now() - start)
      if (failure !== null) {
        result.failed++
        if (result.failures.length < 100) result.failures.push({ at: Date.now(), what: failure })
      }
      resolve()
    }
    const request = http.get(options.url, { agent, timeout: 20_000 }, (response) => {
      const { statusCode = 0, headers } = response
      response.resume()
      response.on('error', (error) => over(`response: ${error.message}`))
      response.on('close', () => over(response.complete ? null : 'response: cut off'))
      response.on('end', () => {
        if (statusCode !== 200) return over(`${statusCode} ${headers['x-weft-error'] ?? ''}`)
        const now = Date.now()
        const service = String(headers['x-shop-service'])
        const pod = String(headers['x-shop-pod'])
        result.services[service] ??= { count: 0, first: now, last: now }
        const seen = result.services[service]
        seen.count++
        seen.last = now
        result.pods[pod] = (result.pods[pod] ?? 0) + 1
        if (result.requests === 0) process.stderr.write('began\n')
        over(null)
      })
    })
    request.on('socket', (socket) => {
      const note = () => addresses.add(socket.localAddress ?? '')
      if (socket.connecting) socket.once('connect', note)
      else note()
    })
    request.on('timeout', () => request.destroy(new Error('no answer within 20 s')))
    request.on('error', (error: NodeJS.ErrnoException) => {
      over(`${request.reusedSocket ? 'kept' : 'new'} connection: ${error.code ?? error.message}`)
    })
  })
}

async function call(isKept: boolean): Promise<void> {
  const agent = isKept ? new http.Agent({ keepAlive: true, maxSockets: 1 }) : false
  const { most = Number.POSITIVE_INFINITY, pauseMs } = options
  while (!isStopping && result.requests < most) {
    await once(agent)
    if (pauseMs > 0) await new Promise((resolve) => setTimeout(resolve, pauseMs))
  }
  if (agent) agent.destroy()
}

await Promise.all(Array.from({ length: options.callers }, (_, at) => call(options.keptOnly === true || at % 2 === 0)))
durations.sort((a, b) => a - b)
const quantile = (share: number) => Math.round((durations[Math.floor(durations.length * share)] ?? 0) * 10) / 10
result.addresses = [...addresses]
result.p50Ms = quantile(0.5)
result.p99Ms = quantile(0.99)
result.maxMs = quantile(0.9999)
process.stdout.write(`${JSON.stringify(result)}\n`)
process.exit(0)
