// The controller's end of the link, as a script of the test: it says what it is told to and keeps the reports.

import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { constants, createGzip, type Gzip } from 'node:zlib'
import type { Report } from '../../controller/contract/messages.ts'
import { ndjson } from './resources.ts'

/** One agent's stream. */
export class Stream {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly #gzip: Gzip

  constructor(request: IncomingMessage, response: ServerResponse) {
    this.request = request
    this.response = response
    this.#gzip = createGzip({ flush: constants.Z_SYNC_FLUSH })
    response.writeHead(200, { 'content-type': 'application/x-ndjson', 'content-encoding': 'gzip' })
    this.#gzip.pipe(response)
  }

  say(...messages: readonly unknown[]): void {
    this.text(ndjson(messages))
  }

  /** @param address where it says that it takes reports */
  hello(contract = 1, address?: string): void {
    this.say({ type: 'hello', contract, controller: 'controller-a', ...(address === undefined ? {} : { address }) })
  }

  text(raw: string): void {
    this.#gzip.write(raw)
    this.#gzip.flush()
  }

  /** Ends the line in order. */
  finish(): void {
    this.#gzip.end()
  }

  /** Breaks the line. */
  cut(): void {
    this.response.destroy()
  }
}

export class FakeController {
  readonly reports: Report[] = []
  readonly streams: Stream[] = []
  /** Answers the next requests for a snapshot instead of a stream. */
  refusals: number[] = []
  readonly #server = createServer((request, response) => this.#serve(request, response))
  #changed: (() => void)[] = []

  /** @param start called for each new stream */
  readonly start: (stream: Stream) => void

  constructor(start: (stream: Stream) => void) {
    this.start = start
  }

  async listen(port = 0): Promise<string> {
    this.#server.listen(port, '127.0.0.1')
    await once(this.#server, 'listening')
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections()
    this.#server.close()
    await once(this.#server, 'close')
  }

  /** Resolves when the condition holds; looked at after each request and report. */
  async until(holds: () => boolean): Promise<void> {
    while (!holds()) await new Promise<void>((resolve) => this.#changed.push(resolve))
  }

  #serve(request: IncomingMessage, response: ServerResponse): void {
    if (request.url === '/v1/report') {
      let body = ''
      request.setEncoding('utf8').on('data', (part: string) => {
        body += part
      })
      request.on('end', () => {
        this.reports.push(JSON.parse(body))
        response.writeHead(204).end()
        this.#wake()
      })
      return
    }
    const refusal = this.refusals.shift()
    if (refusal !== undefined) response.writeHead(refusal).end('not now')
    else {
      const stream = new Stream(request, response)
      this.streams.push(stream)
      this.start(stream)
    }
    this.#wake()
  }

  #wake(): void {
    const waiting = this.#changed
    this.#changed = []
    for (const wake of waiting) wake()
  }
}
