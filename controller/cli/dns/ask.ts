// Asks a CoreDNS pod itself, by TCP through the API server: whether our block is in force there, whatever its ConfigMap says.

import type { Duplex } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import dns from 'dns-packet'
import type { Cluster } from '../../observe/access.ts'
import { forward } from '../forward.ts'

/** What a server said of a name. */
export interface DnsReply {
  /** e.g. `NOERROR`, `NXDOMAIN`; `nothing` if no answer came in time. */
  rcode: string
  /** Addresses, for a question for them. */
  addresses: string[]
  /** Whether a record of the wanted type is there. */
  hasAnswer: boolean
}

const timeoutMs = 5_000

/**
 * Puts one question to a pod.
 * @throws Error if it can't be reached
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
  const message = await readMessage(stream)
  // CoreDNS waits for those whom it asks itself: for an address that is no more, longer than we do.
  if (message === null) return { rcode: 'nothing', addresses: [], hasAnswer: false }
  const packet = dns.streamDecode(message) as dns.DecodedPacket & { rcode: string }
  const answers = packet.answers ?? []
  return {
    rcode: packet.rcode,
    addresses: answers.flatMap((each) => (each.type === 'A' ? [each.data] : [])),
    hasAnswer: answers.some((each) => each.type === type),
  }
}

/** One message with its length before it (RFC 1035 section 4.2.2); null if none comes in time. */
function readMessage(stream: Duplex): Promise<Buffer | null> {
  const isOver = new AbortController()
  const late = sleep(timeoutMs, null, { signal: isOver.signal }).catch(() => null)
  return Promise.race([collect(stream), late]).finally(() => isOver.abort())
}

async function collect(stream: Duplex): Promise<Buffer | null> {
  let held = Buffer.alloc(0)
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    held = Buffer.concat([held, chunk])
    if (held.length >= 2 && held.length >= 2 + held.readUInt16BE(0)) return held
  }
  return null
}
