// One HTTP request on a connection of its own, from an address that the test chooses: what a pod's client does.

import http, { type IncomingHttpHeaders } from 'node:http'
import { text } from 'node:stream/consumers'

export interface CallOptions {
  host: string
  port: number
  /** The address to call from. */
  from?: string
  method?: string
  /** The request's target. */
  path?: string
  headers?: Record<string, string>
  body?: string
}

export interface CallAnswer {
  status: number
  headers: IncomingHttpHeaders
  body: string
}

/** @throws Error if the connection fails, or breaks before the response is whole */
export async function call({ from, body = '', ...options }: CallOptions): Promise<CallAnswer> {
  const { promise, resolve, reject } = Promise.withResolvers<http.IncomingMessage>()
  const request = http.request({ ...options, agent: false, ...(from === undefined ? {} : { localAddress: from }) })
  request.on('response', resolve).on('error', reject).end(body)
  const response = await promise
  return { status: response.statusCode!, headers: response.headers, body: await text(response) }
}
