// How a service of the demo calls the next: HTTP/1.1 with kept connections, and the caller's trace headers passed on, so
// that one request can be followed through all services.

import http, { type IncomingHttpHeaders } from 'node:http'

/** Headers that belong to a trace and travel with every call made for a request. */
const passed = ['traceparent', 'tracestate', 'x-request-id', 'b3', 'x-b3-traceid', 'x-b3-spanid', 'x-b3-sampled']

export interface Reply {
  status: number
  /** Parsed JSON, or undefined where the body is none. */
  body: unknown
  /** The mesh's reason, where the mesh answered instead of the service. */
  reason: string | undefined
}

/** Calls a URL for an incoming request; what goes wrong on the way becomes a Reply with status 0. */
export type Caller = (url: string, incoming: IncomingHttpHeaders) => Promise<Reply>

const timeoutMs = 5000
const maxBodyBytes = 1 << 20

/** A caller with connections of its own. */
export function createCaller(): Caller {
  // Shorter than any server's idle time, so that a kept connection is rarely closed while a request is on its way.
  const agent = new http.Agent({ keepAlive: true, timeout: 30_000, maxFreeSockets: 16 })
  return async (url, incoming) => {
    const headers = Object.fromEntries(passed.flatMap((name) => (incoming[name] ? [[name, incoming[name]]] : [])))
    try {
      return await get(url, headers, agent)
    } catch (error) {
      return { status: 0, body: undefined, reason: (error as Error).message }
    }
  }
}

function get(url: string, headers: http.OutgoingHttpHeaders, agent: http.Agent): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const request = http.get(url, { agent, headers, timeout: timeoutMs }, (response) => {
      let text = ''
      response.setEncoding('utf8')
      response.on('data', (chunk: string) => {
        text += chunk
        if (text.length > maxBodyBytes) request.destroy(new Error('the answer is too long'))
      })
      response.on('error', reject)
      response.on('end', () => {
        const reason = response.headers['x-weft-error']
        resolve({ status: response.statusCode ?? 0, body: parse(text), reason: reason?.toString() })
      })
    })
    request.on('timeout', () => request.destroy(new Error(`no answer within ${timeoutMs / 1000} s`)))
    request.on('error', (error: NodeJS.ErrnoException) => {
      // The server closed a kept connection just as it was used again: a GET may simply be sent once more.
      if (request.reusedSocket && error.code === 'ECONNRESET') get(url, headers, agent).then(resolve, reject)
      else reject(error)
    })
  })
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
