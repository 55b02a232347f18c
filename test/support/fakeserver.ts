// An API server that does what the test tells it, on a real socket: for what no well-behaved server does on demand.

import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { KubeConfig } from '@kubernetes/client-node'
import { openCluster } from '../../controller/observe/access.ts'
import { type Api, openApi } from '../../controller/observe/api.ts'

export interface FakeServer {
  url: string
  api: Api
  /** Every request so far: method, path and query. */
  requests: { method: string; url: URL; body: unknown }[]
  close(): Promise<void>
}

export type Answer = (
  request: { method: string; url: URL; body: unknown; headers: IncomingMessage['headers'] },
  response: ServerResponse,
) => void

/** Starts a server on a free port of 127.0.0.1. */
export async function startFakeServer(answer: Answer): Promise<FakeServer> {
  const requests: FakeServer['requests'] = []
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk)
    const text = Buffer.concat(chunks).toString()
    const made = {
      method: request.method ?? '',
      url: new URL(request.url ?? '', 'http://fake'),
      body: text === '' ? undefined : JSON.parse(text),
      headers: request.headers,
    }
    requests.push(made)
    answer(made, response)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const api = openApi(openCluster(kubeConfig(url)))
  return {
    url,
    api,
    requests,
    async close() {
      await api.close()
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

/** A kubeconfig for a server without authentication. */
export function kubeConfig(server: string): KubeConfig {
  const config = new KubeConfig()
  config.loadFromOptions({
    clusters: [{ name: 'fake', server, skipTLSVerify: false }],
    users: [{ name: 'fake' }],
    contexts: [{ name: 'fake', cluster: 'fake', user: 'fake' }],
    currentContext: 'fake',
  })
  return config
}

/** Answers with JSON. */
export function json(response: ServerResponse, status: number, value: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' })
  response.end(JSON.stringify(value))
}

/** Answers with a Status object, as the API server refuses. */
export function refuse(response: ServerResponse, status: number, reason: string): void {
  json(response, status, {
    kind: 'Status',
    apiVersion: 'v1',
    status: 'Failure',
    message: `it is ${reason}`,
    reason,
    code: status,
  })
}

/** One line of a watch. */
export function event(type: string, object: unknown): string {
  return `${JSON.stringify({ type, object })}\n`
}
