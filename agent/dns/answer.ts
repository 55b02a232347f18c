// The agents' DNS, as a function: a query in, a response out. Answers for the mesh domain alone: <service>.<namespace>.
// <mesh domain> has the mesh Service's address, or the Service's own where it is dedicated (RFC 1035, 2308, 6891).

import { isIPv6 } from 'node:net'
import dns from 'dns-packet'
import { resourceIn, type Wanted } from '../mesh/store.ts'

/** What the names under the mesh domain stand for. */
export interface Zone {
  /** Lower case, without a trailing dot; '' while there is no snapshot. */
  readonly domain: string
  /** The addresses of a Service, at most one of each IP family; none if not known yet, null if no such Service is in the mesh. */
  addresses(service: string, namespace: string): readonly string[] | null
  /** Whether a namespace has Services in the mesh: an empty non-terminal (RFC 8020). */
  hasNamespace(namespace: string): boolean
}

/** The zone that a snapshot describes. */
export function zoneOf(wanted: Wanted): Zone {
  const mesh = resourceIn(wanted, 'mesh', 'mesh')
  let namespaces: Set<string> | null = null
  return {
    domain: mesh?.meshDomain.toLowerCase() ?? '',
    addresses(service, namespace) {
      const found = resourceIn(wanted, 'service', `${namespace}/${service}`)
      if (found === null || !found.enrolled) return null
      const { address, secondAddress } = found.address === '' ? mesh! : found
      return [address, secondAddress].filter((each) => each !== undefined && each !== '') as string[]
    },
    hasNamespace(namespace) {
      namespaces ??= namespacesOf(wanted)
      return namespaces.has(namespace)
    },
  }
}

function namespacesOf(wanted: Wanted): Set<string> {
  const namespaces = new Set<string>()
  for (const key of wanted.lines.keys()) {
    if (!key.startsWith('service ')) continue
    const [namespace = '', name = ''] = key.slice('service '.length).split('/')
    if (resourceIn(wanted, 'service', `${namespace}/${name}`)?.enrolled) namespaces.add(namespace)
  }
  return namespaces
}

/** Addresses of Services rarely change; what a client holds on to too long is refused with a reason, not lost. */
const ttlSeconds = 30
/** A Service that joins the mesh should be found soon. */
const negativeTtlSeconds = 5
/** What travels without fragments (DNS flag day 2020). */
const udpMost = 1232
const udpLeast = 512

const rcodes = { noerror: 0, formerr: 1, servfail: 2, nxdomain: 3, notimp: 4, refused: 5, badvers: 16 } as const
export type Rcode = keyof typeof rcodes

export interface DnsAnswer {
  readonly rcode: Rcode
  readonly bytes: Buffer
}

interface Verdict {
  readonly rcode: Rcode
  readonly answers?: dns.Answer[]
  /** Whether the zone's SOA goes along: for negative answers, so that they can be cached. */
  readonly isNegative?: boolean
}

/**
 * Answers a query.
 * @param query the message as it came
 * @param isStream by TCP: no limit on the size
 * @returns null if it deserves none: it is a response, or too short to be answered
 */
export function answerQuery(query: Uint8Array, zone: Zone, isStream: boolean): DnsAnswer | null {
  // Whoever answers a response may be talking to himself.
  if (query.length < 12 || (query[2]! & 0x80) !== 0) return null
  let packet: dns.DecodedPacket
  try {
    packet = dns.decode(Buffer.from(query.buffer, query.byteOffset, query.byteLength))
  } catch {
    return { rcode: 'formerr', bytes: bare(query, rcodes.formerr) }
  }
  const opt = packet.additionals?.find((record) => record.type === 'OPT')
  const edns = opt?.type === 'OPT' ? opt : null
  const verdict = judge(packet, zone, edns?.ednsVersion ?? 0)
  const bytes = encode(packet, zone, verdict, edns !== null)
  const most = isStream ? 65_535 : Math.min(udpMost, Math.max(udpLeast, edns?.udpPayloadSize ?? udpLeast))
  return { rcode: verdict.rcode, bytes: bytes.length <= most ? bytes : truncated(packet, verdict, edns !== null) }
}

/** Only a header, for what can't be decoded. */
function bare(query: Uint8Array, rcode: number): Buffer {
  const bytes = Buffer.alloc(12)
  bytes[0] = query[0]!
  bytes[1] = query[1]!
  bytes[2] = 0x80 | (query[2]! & 0x79)
  bytes[3] = rcode
  return bytes
}

function judge(packet: dns.DecodedPacket, zone: Zone, ednsVersion: number): Verdict {
  if (ednsVersion !== 0) return { rcode: 'badvers' }
  if (((packet.flags ?? 0) & 0x7800) !== 0) return { rcode: 'notimp' }
  const [question, second] = packet.questions ?? []
  if (question === undefined || second !== undefined) return { rcode: 'formerr' }
  if (zone.domain === '') return { rcode: 'servfail' }
  const name = question.name.toLowerCase()
  if (question.class !== 'IN' || !(name === zone.domain || name.endsWith(`.${zone.domain}`)))
    return { rcode: 'refused' }
  return name === zone.domain ? apex(question, zone) : below(question, name.slice(0, -zone.domain.length - 1), zone)
}

function apex({ name, type }: dns.Question, zone: Zone): Verdict {
  return type === 'SOA' ? { rcode: 'noerror', answers: [soa(name, zone)] } : { rcode: 'noerror', isNegative: true }
}

/** @param host the name without the domain */
function below({ name, type }: dns.Question, host: string, zone: Zone): Verdict {
  const labels = host.split('.')
  if (labels.length === 1) {
    return { rcode: zone.hasNamespace(host) ? 'noerror' : 'nxdomain', isNegative: true }
  }
  const [service = '', namespace = ''] = labels
  const addresses = labels.length === 2 ? zone.addresses(service, namespace) : null
  if (addresses === null) return { rcode: 'nxdomain', isNegative: true }
  if (addresses.length === 0) return { rcode: 'servfail' }
  const answers = addresses
    .map((data): dns.Answer => ({ name, type: isIPv6(data) ? 'AAAA' : 'A', ttl: ttlSeconds, data }))
    // ANY may be answered with whatever is at hand (RFC 8482).
    .filter((answer) => ['ANY', answer.type].includes(type))
  return answers.length === 0 ? { rcode: 'noerror', isNegative: true } : { rcode: 'noerror', answers }
}

function soa(name: string, { domain }: Zone): dns.Answer {
  const data = {
    mname: `ns.${domain}`,
    rname: `hostmaster.${domain}`,
    // Nobody transfers this zone, so its serial is no matter.
    serial: 1,
    refresh: 3600,
    retry: 600,
    expire: 86_400,
    minimum: negativeTtlSeconds,
  }
  return { name, type: 'SOA', ttl: negativeTtlSeconds, data }
}

function header({ id, questions, flag_rd }: dns.DecodedPacket, { rcode }: Verdict, hasEdns: boolean): dns.Packet {
  const code = rcodes[rcode]
  const opt: dns.Answer = {
    type: 'OPT',
    name: '.',
    udpPayloadSize: udpMost,
    extendedRcode: code >> 4,
    ednsVersion: 0,
    flags: 0,
    flag_do: false,
    options: [],
  }
  const flags = dns.AUTHORITATIVE_ANSWER | (flag_rd ? dns.RECURSION_DESIRED : 0) | (code & 15)
  // The question goes back as it came, with the caller's mixture of cases.
  return { type: 'response', id: id ?? 0, flags, questions: questions ?? [], additionals: hasEdns ? [opt] : [] }
}

function encode(packet: dns.DecodedPacket, zone: Zone, verdict: Verdict, hasEdns: boolean): Buffer {
  const authorities = verdict.isNegative ? [soa(zone.domain, zone)] : []
  return dns.encode({ ...header(packet, verdict, hasEdns), answers: verdict.answers ?? [], authorities })
}

/** Too long for a datagram: come back by TCP (RFC 2181 section 9). */
function truncated(packet: dns.DecodedPacket, verdict: Verdict, hasEdns: boolean): Buffer {
  const head = header(packet, verdict, hasEdns)
  return dns.encode({ ...head, flags: head.flags! | dns.TRUNCATED_RESPONSE })
}
