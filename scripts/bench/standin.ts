// A stand-in for the controller: hands a set of resources to any agent that asks, over the real contract, and signs its
// certificates where identities are measured too.

import { createServer as createPlain, type IncomingMessage, type ServerResponse } from 'node:http'
import { createServer as createSecure } from 'node:https'
import type { AddressInfo } from 'node:net'
import type { SignRequest } from '../../controller/contract/identity.ts'
import type { Message, Report } from '../../controller/contract/messages.ts'
import type { MeshResource, Resource } from '../../controller/contract/resources.ts'
import { contract } from '../../controller/contract/version.ts'
import type { Signer } from './signer.ts'

export interface Standin {
  readonly url: string
  /** The newest report of an agent, by its pod's name. */
  readonly reports: ReadonlyMap<string, Report>
  /** Sends the resources as the next full transaction to all that listen, and to whoever asks from now on. */
  send(resources: readonly Resource[]): void
  stop(): Promise<void>
}

/** What every set of resources has. */
export function meshResource(trustDomain = 'cluster.local'): MeshResource {
  return {
    kind: 'mesh',
    name: 'mesh',
    trustDomain,
    clusterDomain: 'cluster.local',
    meshDomain: 'mesh.internal',
    aliasSuffix: '-mesh',
    address: '',
    defaultAccess: 'allow',
  }
}

async function readJson<T>(request: IncomingMessage): Promise<T> {
  let text = ''
  for await (const chunk of request.setEncoding('utf8')) text += chunk
  return JSON.parse(text) as T
}

/**
 * Starts it on loopback, on a port of its own.
 * @param signer makes it speak TLS, and sign
 */
export async function startStandin(first: readonly Resource[], signer: Signer | null = null): Promise<Standin> {
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
  const stream = (response: ServerResponse) => {
    response.writeHead(200, { 'content-type': 'application/x-ndjson' })
    response.write(`${JSON.stringify({ type: 'hello', contract: contract.newest, controller: 'standin' })}\n`)
    listeners.add(response)
    response.once('close', () => listeners.delete(response))
    tell(response)
  }
  const serve = async (request: IncomingMessage, response: ServerResponse) => {
    if (request.url === '/v1/sign' && signer !== null) {
      const answer = JSON.stringify(signer.sign(await readJson<SignRequest>(request)))
      response.writeHead(200, { 'content-type': 'application/json' }).end(answer)
    } else if (request.method === 'POST') {
      const report = await readJson<Report>(request)
      reports.set(report.pod, report)
      response.writeHead(204).end()
    } else stream(response)
  }
  const handle = (request: IncomingMessage, response: ServerResponse) => {
    serve(request, response).catch((error: Error) => response.writeHead(500).end(error.message))
  }
  const server = signer === null ? createPlain(handle) : createSecure(signer.tls, handle)
  const pings = setInterval(() => {
    for (const response of listeners) response.write('{"type":"ping"}\n')
  }, 10_000)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `${signer === null ? 'http' : 'https'}://127.0.0.1:${(server.address() as AddressInfo).port}`,
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
