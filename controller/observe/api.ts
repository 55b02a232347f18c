// The API server as the controller uses it: JSON requests, and the line stream of a watch.

import type { Readable } from 'node:stream'
import { type Dispatcher, request as send } from 'undici'
import { ApiError, hasStatus } from '../errors.ts'
import type { Cluster } from './access.ts'

export type Query = Record<string, string | number | boolean | undefined>

export interface RequestOptions {
  query?: Query
  body?: unknown
  contentType?: string
  signal?: AbortSignal
  /** For the whole request; 30 s if absent. */
  timeoutMs?: number
  /** Until the answer begins; 30 s if absent: a write may have to wait for other people's webhooks. */
  headersTimeoutMs?: number
}

export interface Api {
  /**
   * Sends a request, gives the parsed answer.
   * @throws ApiError with status 0 if there was no answer, else with the server's own words
   */
  request<T>(method: Dispatcher.HttpMethod, path: string, options?: RequestOptions): Promise<T>
  /**
   * Opens a watch.
   * @returns the body once the server accepted; destroy it to end the watch. How long it may be silent is the caller's business
   * @throws ApiError as `request`
   */
  stream(path: string, query: Query, signal: AbortSignal): Promise<Readable>
  close(): Promise<void>
}

/**
 * Reads what may not be there.
 * @returns null where the server answers 404: no such object, or no such kind
 * @throws ApiError as `request`, for all else
 */
export async function findObject<T>(api: Api, path: string, options?: RequestOptions): Promise<T | null> {
  try {
    return await api.request<T>('GET', path, options)
  } catch (thrown) {
    if (hasStatus(thrown, 404)) return null
    throw thrown
  }
}

/** No answer of the API server that we ask for comes near this. */
const bodyLimitBytes = 256 << 20
/** An API server accepts a watch within this, or is no longer at the other end of the connection. */
const watchTimeoutMs = 10_000

/** Opens the API server of a cluster. */
export function openApi(cluster: Cluster, userAgent = 'weft-controller'): Api {
  async function open(method: Dispatcher.HttpMethod, path: string, options: RequestOptions, bodyTimeout: number) {
    const { dispatcher, headers } = await cluster.access()
    const body = options.body === undefined ? null : JSON.stringify(options.body)
    const contentType = body === null ? {} : { 'content-type': options.contentType ?? 'application/json' }
    return send(`${cluster.server}${path}${queryString(options.query)}`, {
      method,
      dispatcher,
      headers: { ...headers, ...contentType, accept: 'application/json', 'user-agent': userAgent },
      body,
      signal: options.signal ?? null,
      headersTimeout: options.headersTimeoutMs ?? 30_000,
      bodyTimeout,
    })
  }

  async function request<T>(method: Dispatcher.HttpMethod, path: string, options: RequestOptions = {}): Promise<T> {
    const timeout = AbortSignal.timeout(options.timeoutMs ?? 30_000)
    const signal = options.signal === undefined ? timeout : AbortSignal.any([options.signal, timeout])
    const what = `${method} ${path}`
    try {
      const response = await open(method, path, { ...options, signal }, 30_000)
      const text = await readText(response.body)
      if (response.statusCode >= 300) throw refused(what, response.statusCode, response.headers['retry-after'], text)
      return (text === '' ? null : JSON.parse(text)) as T
    } catch (thrown) {
      throw thrown instanceof ApiError ? thrown : new ApiError(`${what} failed`, { status: 0, cause: thrown })
    }
  }

  async function stream(path: string, query: Query, signal: AbortSignal): Promise<Readable> {
    const what = `watch ${path}`
    try {
      const response = await open('GET', path, { query, signal, headersTimeoutMs: watchTimeoutMs }, 0)
      if (response.statusCode === 200) return response.body
      const text = await readText(response.body)
      throw refused(what, response.statusCode, response.headers['retry-after'], text)
    } catch (thrown) {
      throw thrown instanceof ApiError ? thrown : new ApiError(`${what} failed`, { status: 0, cause: thrown })
    }
  }

  return { request, stream, close: () => cluster.close() }
}

async function readText(body: Readable): Promise<string> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of body as AsyncIterable<Buffer>) {
    bytes += chunk.length
    if (bytes > bodyLimitBytes) throw new Error(`the answer exceeds ${bodyLimitBytes} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString()
}

function queryString(query: Query | undefined): string {
  const pairs = Object.entries(query ?? {}).filter(([, value]) => value !== undefined && value !== '')
  if (pairs.length === 0) return ''
  return `?${new URLSearchParams(pairs.map(([name, value]): [string, string] => [name, String(value)]))}`
}

/** An ApiError from an answer, which is a Status object if the API server itself made it. */
function refused(what: string, status: number, retryAfter: string | string[] | undefined, text: string): ApiError {
  const { message, reason } = parseStatus(text)
  return new ApiError(`${what}: ${status} ${message}`, { status, reason, retryAfter: secondsOf(retryAfter) })
}

/** Retry-After in seconds or as a date (RFC 9110 section 10.2.3). */
function secondsOf(retryAfter: string | string[] | undefined): number {
  const text = String(retryAfter ?? '')
  const seconds = /^\d+$/.test(text) ? Number(text) : (Date.parse(text) - Date.now()) / 1000
  return Number.isNaN(seconds) ? 0 : Math.max(0, seconds)
}

function parseStatus(text: string): { message: string; reason: string } {
  try {
    const { message, reason } = JSON.parse(text) as { message?: unknown; reason?: unknown }
    if (typeof message === 'string') return { message, reason: typeof reason === 'string' ? reason : '' }
  } catch {
    // Proxies in between answer with HTML; the text itself is the best there is.
  }
  return { message: text.slice(0, 200).trim(), reason: '' }
}
