// Asks a CoreDNS pod itself, by TCP through the API server: whether our block is in force there, whatever its ConfigMap says.

import type { Duplex } from 'node:stream'
import dns from 'dns-packet'
import type { Cluster } from '../../observe/access.ts'
import { forward } from '../forward.ts'

/** What a server said of a name. */
export interface DnsReply {
  /** e.g. `NOERROR`, `NXDOMAIN`. */
  rcode: string
  /** Addresses, for a question for them. */
  addresses: string[]
  /** Whether a record of the wanted type is there. */
  hasAnswer: boolean
}

const timeoutMs = 5_000

/**
 * Puts one question to a pod.
 * @throws Error if it can't be reached or does not answer
 */
export async function askPod(
  cluster: Cluster,
  pod: { namespace: string; name: string },
  name: string,
  type: 'A' | 'SOA',
): Promise<DnsReply> {
  const stream = await forward(cluster, { namespace: pod.namespace, pod: pod.name, port: 53 })
  try {
    return await ask(stream, name, type)
  } finally {
    stream.destroy()
  }
}

/** Puts one question on a stream, and reads the answer. */
export async function ask(stream: Duplex, name: string, type: 'A' | 'SOA'): Promise<DnsReply> {
  stream.write(
    dns.streamEncode({
      type: 'query',
      id: Math.floor(Math.random() * 65_536),
      flags: dns.RECURSION_DESIRED,
      questions: [{ name, type }],
    }),
  )
  const packet = dns.streamDecode(await readMessage(stream)) as dns.DecodedPacket & { rcode: string }
  const answers = packet.answers ?? []
  return {
    rcode: packet.rcode,
    addresses: answers.flatMap((each) => (each.type === 'A' ? [each.data] : [])),
    hasAnswer: answers.some((each) => each.type === type),
  }
}

/** One message with its length before it (RFC 1035 section 4.2.2). */
async function readMessage(stream: Duplex): Promise<Buffer> {
  let held = Buffer.alloc(0)
  const timer = setTimeout(() => stream.destroy(new Error('no answer')), timeoutMs)
  try {
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      held = Buffer.concat([held, chunk])
      if (held.length >= 2 && held.length >= 2 + held.readUInt16BE(0)) return held
    }
  } finally {
    clearTimeout(timer)
  }
  throw new Error('the connection ended before the answer')
}
