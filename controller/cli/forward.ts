// A connection to a port of a pod, through the API server: what `kubectl port-forward` does, for one connection, and so also
// to ports that listen on the pod's loopback alone. Spoken over a WebSocket (v4.channel.k8s.io): each message begins with a
// channel's number, 0 for data and 1 for errors, and the first one of each channel carries the port.

import { get } from 'node:http'
import type { Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { text } from 'node:stream/consumers'
import { Headers, WebSocket } from 'undici'
import { messageOf } from '../errors.ts'
import type { Cluster } from '../observe/access.ts'

const dataChannel = 0
const errorChannel = 1
const portBytes = 2

/** A pod's port. */
export interface Target {
  namespace: string
  pod: string
  port: number
}

/**
 * Connects to a pod's port. Errors of the way there, such as a missing right or nobody listening, end the stream with them.
 */
export async function forward(cluster: Cluster, { namespace, pod, port }: Target): Promise<Duplex> {
  const path = `/api/v1/namespaces/${encodeURIComponent(namespace)}/pods/${encodeURIComponent(pod)}/portforward`
  const { dispatcher, headers } = await cluster.access()
  const url = `${cluster.server}${path}?ports=${port}`.replace(/^http/, 'ws')
  const fields = new Headers()
  for (const [name, value] of Object.entries(headers)) for (const each of [value].flat()) fields.append(name, each)
  const socket = new WebSocket(url, { protocols: ['v4.channel.k8s.io'], dispatcher, headers: fields })
  socket.binaryType = 'arraybuffer'
  const opened = new Set<number>()
  let isOpen = false

  const stream = new Duplex({
    read() {},
    write(chunk: Buffer, _encoding, done) {
      socket.send(Buffer.concat([Buffer.of(dataChannel), chunk]))
      done()
    },
    // The protocol has no half-closed state: whoever asks over it says in its own words when it has ended.
    final: (done) => done(),
    destroy(error, done) {
      socket.close()
      done(error)
    },
  })
  // Nobody listens yet when the first message comes.
  stream.on('error', () => {})
  const fail = (what: string) => stream.destroy(new Error(`port ${port} of pod ${namespace}/${pod}: ${what}`))

  socket.addEventListener('message', ({ data }) => {
    const message = Buffer.from(data as ArrayBuffer)
    const channel = message[0] ?? errorChannel
    const isFirst = !opened.has(channel)
    opened.add(channel)
    const payload = message.subarray(1 + (isFirst ? portBytes : 0))
    if (payload.length === 0) return
    if (channel === dataChannel) stream.push(payload)
    else fail(payload.toString().trim())
  })
  socket.addEventListener('close', () => stream.push(null))
  socket.addEventListener('error', (event) => {
    if (isOpen) fail(messageOf(event.error ?? 'the connection broke'))
  })
  await new Promise<void>((resolve, reject) => {
    socket.addEventListener('open', () => {
      isOpen = true
      resolve()
    })
    // A WebSocket does not tell with which status it was refused.
    const refused = `the API server refuses a connection to pod ${namespace}/${pod}, or is away; it takes the right to create pods/portforward`
    socket.addEventListener('error', () => reject(new Error(refused)))
  })
  return stream
}

/** No page that we ask for takes longer. */
const pageTimeoutMs = 10_000

/**
 * Reads a page of a pod's HTTP server.
 * @throws Error if there is no answer, or another status than 200
 */
export async function readPage(cluster: Cluster, target: Target, path: string): Promise<string> {
  const stream = await forward(cluster, target)
  try {
    return await new Promise<string>((resolve, reject) => {
      if (stream.errored !== null) reject(stream.errored)
      stream.on('error', reject)
      const request = get(
        {
          path,
          headers: { host: 'localhost', connection: 'close' },
          timeout: pageTimeoutMs,
          createConnection: () => stream as Socket,
        },
        (response) => {
          text(response).then((body) => {
            if (response.statusCode === 200) resolve(body)
            else
              reject(
                new Error(`${path} of pod ${target.namespace}/${target.pod}: ${response.statusCode} ${body.trim()}`),
              )
          }, reject)
        },
      )
      request.on('timeout', () =>
        request.destroy(new Error(`${path} of pod ${target.namespace}/${target.pod}: no answer`)),
      )
      request.on('error', reject)
    })
  } finally {
    stream.destroy()
  }
}
