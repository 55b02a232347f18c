// HTTP load for tests that say "no request fails": a number of callers, each with one kept connection, one request after
// the other until stopped.

import http from 'node:http'

export interface LoadOptions {
  host: string
  port: number
  path?: string
  headers?: Record<string, string>
  /** The address that callers call from. */
  from?: string
  callers: number
  /** Pause after each response. */
  pauseMs?: number
  /** Told of every good response. */
  onResponse?(response: http.IncomingMessage, body: string): void
}

export interface Load {
  /** Good responses so far. */
  succeeded(): number
  /** What went wrong, one line for each failed request. */
  failures: string[]
  /** The failures by what they say, with their number and the first time: for messages of assertions. */
  summary(): string
  /** Resolves when every caller has its last response. */
  stop(): Promise<void>
}

/** Starts calling. A kept connection that the server closes between requests is opened again and is no failure. */
export function startLoad(options: LoadOptions): Load {
  const agents: http.Agent[] = []
  const failures: string[] = []
  let succeeded = 0
  let isStopped = false

  async function call(agent: http.Agent): Promise<void> {
    const { host, port, path = '/', headers = {}, from } = options
    const { promise, resolve } = Promise.withResolvers<void>()
    const request = http.get({ host, port, path, headers, agent, ...(from ? { localAddress: from } : {}) })
    const fail = (error: NodeJS.ErrnoException) => {
      // RFC 9112 section 9.3.1: a GET on a connection that was closed before any answer may be sent again.
      const isStale = request.reusedSocket && error.code === 'ECONNRESET'
      if (!isStale) failures.push(`${new Date().toISOString()} ${error.message}`)
      resolve()
    }
    request.on('error', fail)
    request.on('response', (response) => {
      let body = ''
      response.setEncoding('utf8').on('data', (chunk: string) => {
        body += chunk
      })
      response.on('error', fail)
      response.on('end', () => {
        if (response.statusCode === 200) {
          succeeded++
          options.onResponse?.(response, body)
        } else {
          const reason = response.headers['x-weft-error'] ?? body.slice(0, 100)
          failures.push(`${new Date().toISOString()} ${response.statusCode} ${reason}`)
        }
        resolve()
      })
    })
    await promise
  }

  async function run(): Promise<void> {
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
    agents.push(agent)
    while (!isStopped) {
      await call(agent)
      if (options.pauseMs) await new Promise((resolve) => setTimeout(resolve, options.pauseMs))
    }
  }

  const callers = Array.from({ length: options.callers }, run)
  return {
    succeeded: () => succeeded,
    failures,
    summary: () => {
      const kinds = Object.entries(Object.groupBy(failures, (line) => line.slice(line.indexOf(' ') + 1)))
      return kinds.map(([what, lines = []]) => `${lines.length} × ${what}, first at ${lines[0]}`).join('; ')
    },
    stop: async () => {
      isStopped = true
      await Promise.all(callers)
      for (const agent of agents) agent.destroy()
    },
  }
}
