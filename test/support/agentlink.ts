// An agent's end of the link, as plain as can be: collects the messages of a snapshot stream and applies them to a map.

import { type ClientRequest, type IncomingMessage, request as requestPlain } from 'node:http'
import { request as requestTls } from 'node:https'
import { createGunzip } from 'node:zlib'
import type { Message } from '../../controller/contract/messages.ts'
import type { Resource } from '../../controller/contract/resources.ts'
import { contract } from '../../controller/contract/version.ts'
import { until } from './until.ts'

export interface AgentLink {
  status: number
  headers: IncomingMessage['headers']
  messages: Message[]
  /** By `kind name`, as of the last commit. */
  resources: Map<string, Resource>
  versions: string[]
  /** Body of a refusal. */
  text(): Promise<string>
  /** Bytes on the wire so far. */
  bytes: number
  isEnded: boolean
  pause(): void
  resume(): void
  /** Waits for the next transaction after those seen so far, or for the nth. */
  transaction(nth: number): Promise<void>
  close(): void
}

/** How an agent proves itself to a whole controller. */
export interface AgentProof {
  /** Trust bundle, PEM. */
  ca: string
  token: string
}

/** Asks a controller for a node's snapshot. @param options.proof there is none where the test serves plain HTTP */
export async function openLink(
  port: number,
  query: { node: string; pod: string; oldest?: number; newest?: number },
  options: { gzip?: boolean; proof?: AgentProof } = {},
): Promise<AgentLink> {
  const { node, pod, oldest = contract.oldest, newest = contract.newest } = query
  const { proof } = options
  const headers = {
    ...(options.gzip === false ? {} : { 'accept-encoding': 'gzip' }),
    ...(proof === undefined ? {} : { authorization: `Bearer ${proof.token}` }),
  }
  const target = {
    host: '127.0.0.1',
    port,
    path: `/v1/snapshot?node=${node}&pod=${pod}&oldest=${oldest}&newest=${newest}`,
  }
  let made: ClientRequest
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    made =
      proof === undefined
        ? requestPlain({ ...target, headers })
        : requestTls({ ...target, headers, ca: proof.ca, checkServerIdentity: () => undefined, agent: false })
    made.on('response', resolve)
    made.on('error', reject)
    made.end()
  })
  made!.removeAllListeners('error')
  made!.on('error', () => {})
  const link: AgentLink = {
    status: response.statusCode ?? 0,
    headers: response.headers,
    messages: [],
    resources: new Map(),
    versions: [],
    bytes: 0,
    isEnded: false,
    text: async () => Buffer.concat(await response.toArray()).toString(),
    pause: () => response.pause(),
    resume: () => response.resume(),
    transaction: (nth) =>
      until(
        () => link.versions.length >= nth,
        () => `transaction ${nth} after ${link.versions.length}`,
      ),
    close: () => response.destroy(),
  }
  if (link.status !== 200) return link
  const decoded = link.headers['content-encoding'] === 'gzip' ? response.pipe(createGunzip()) : response
  response.on('data', (chunk: Buffer) => {
    link.bytes += chunk.length
  })
  const end = () => {
    link.isEnded = true
  }
  response.on('close', end).on('error', end)
  let rest = ''
  let staged: Map<string, Resource> = new Map()
  let lines = 0

  function take(message: Message): void {
    link.messages.push(message)
    if (message.type === 'begin') {
      staged = message.full ? new Map() : new Map(link.resources)
      lines = 0
    } else if (message.type === 'set') {
      staged.set(`${message.resource.kind} ${message.resource.name}`, message.resource)
      lines++
    } else if (message.type === 'remove') {
      staged.delete(`${message.kind} ${message.name}`)
      lines++
    } else if (message.type === 'commit') {
      if (message.count !== lines) throw new Error(`commit says ${message.count} lines, there were ${lines}`)
      link.resources = staged
      link.versions.push(message.version)
    }
  }

  decoded.on('error', () => {})
  decoded.on('data', (chunk: Buffer) => {
    const parts = (rest + chunk.toString()).split('\n')
    rest = parts.pop()!
    for (const line of parts) take(JSON.parse(line) as Message)
  })
  return link
}
