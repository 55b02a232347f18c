// A stand-in for the controller: hands a fixed set of resources to any agent that asks, over the real contract.

import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Message, Report } from '../../controller/contract/messages.ts'
import type { Resource } from '../../controller/contract/resources.ts'
import { contract } from '../../controller/contract/version.ts'

export interface Standin {
  readonly url: string
  /** The newest report of an agent, by its pod's name. */
  readonly reports: ReadonlyMap<string, Report>
  /** Sends the resources as the next full transaction to all that listen, and to whoever asks from now on. */
  send(resources: readonly Resource[]): void
  stop(): Promise<void>
}

/** Starts it on loopback, on a port of its own. */
export async function startStandin(first: readonly Resource[]): Promise<Standin> {
  let resources = first
  let version = 1
  const listeners = new Set<ServerResponse>()
  const reports = new Map<string, Report>()

  const tell = (response: ServerResponse) => {
    const messages: Message[] = [
      { type: 'begin', version: `${version}`, full: true },
      ...resources.map((resource): Message => ({ type: 'set', resource })),
      { type: 'commit', version: `${version}`, count: resources.length },
    ]
    response.write(messages.map((message) => `${JSON.stringify(message)}\n`).join(''))
  }
  const server = createServer((request, response) => {
    if (request.method === 'POST') {
      let text = ''
      request.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk
      })
      request.on('end', () => {
        const report = JSON.parse(text) as Report
        reports.set(report.pod, report)
        response.writeHead(204).end()
      })
      return
    }
    response.writeHead(200, { 'content-type': 'application/x-ndjson' })
    response.write(`${JSON.stringify({ type: 'hello', contract: contract.newest, controller: 'standin' })}\n`)
    listeners.add(response)
    response.once('close', () => listeners.delete(response))
    tell(response)
  })
  const pings = setInterval(() => {
    for (const response of listeners) response.write('{"type":"ping"}\n')
  }, 10_000)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    reports,
    send(next) {
      resources = next
      version++
      for (const response of listeners) tell(response)
    },
    async stop() {
      clearInterval(pings)
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
