// The agents' DNS, as a function: a query in, a response out. Answers for the mesh domain alone: <service>.<namespace>.
// <mesh domain> has the mesh Service's address, or the Service's own where it is dedicated; _<port>._tcp before it has the
// port's number; the addresses have names (RFC 1035, 2308, 2782, 6891).

import { isIPv6 } from 'node:net'
import dns from 'dns-packet'
import { reversed, type Zone } from './zone.ts'

/** As CoreDNS gives Services: what changes is seen soon, and what a client holds on to longer is refused with a reason. */
const ttlSeconds = 5
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
  /** What whoever asked will ask for next. */
  readonly extras?: dns.Answer[]
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
  if (name.endsWith('.arpa')) return reverse(question, name, zone)
  if (question.class !== 'IN' || !(name === zone.domain || name.endsWith(`.${zone.domain}`)))
    return { rcode: 'refused' }
  return name === zone.domain ? apex(question, zone) : below(question, name.slice(0, -zone.domain.length - 1), zone)
}

const nothing: Verdict = { rcode: 'noerror', isNegative: true }
const nowhere: Verdict = { rcode: 'nxdomain', isNegative: true }

/** The domain itself: who answers for it, and the address that most of its names share. */
function apex({ name, type }: dns.Question, zone: Zone): Verdict {
  if (type === 'SOA') return { rcode: 'noerror', answers: [soa(name, zone)] }
  if (type === 'NS') return { rcode: 'noerror', answers: [{ name, type, ttl: ttlSeconds, data: zone.domain }] }
  return some(addressRecords(name, zone.shared), type)
}

/** @param host the name without the domain */
function below(question: dns.Question, host: string, zone: Zone): Verdict {
  const labels = host.split('.')
  if (labels.length === 1) return zone.hasNamespace(host) ? nothing : nowhere
  const [namespace = '', service = '', protocol, port, ...more] = labels.reverse()
  const addresses = zone.addresses(service, namespace)
  if (addresses === null || more.length > 0) return nowhere
  if (protocol !== undefined) return portOf(question, { service, namespace, protocol, port }, addresses, zone)
  if (addresses.length === 0) return { rcode: 'servfail' }
  return some(addressRecords(question.name, addresses), question.type)
}

/** `_<port name>._tcp` before a Service's name (RFC 2782). */
function portOf(
  { name, type }: dns.Question,
  {
    service,
    namespace,
    protocol,
    port,
  }: { service: string; namespace: string; protocol: string; port?: string | undefined },
  addresses: readonly string[],
  zone: Zone,
): Verdict {
  const ports = zone.ports(service, namespace)
  if (protocol !== '_tcp' || ports.size === 0) return nowhere
  if (port === undefined) return nothing
  const number = port.startsWith('_') ? ports.get(port.slice(1)) : undefined
  if (number === undefined) return nowhere
  const target = `${service}.${namespace}.${zone.domain}`
  const data = { priority: 0, weight: 100, port: number, target }
  const verdict = some([{ name, type: 'SRV', ttl: ttlSeconds, data }], type)
  return verdict === nothing ? nothing : { ...verdict, extras: addressRecords(target, addresses) }
}

/** Names of addresses. Only those of the mesh are ours; there is no zone to be authoritative for, so a denial has no SOA. */
function reverse({ name, type, class: of }: dns.Question, lower: string, zone: Zone): Verdict {
  const address = of === 'IN' ? reversed(lower) : null
  const found = address === null ? null : zone.nameOf(address)
  if (found === null) return { rcode: 'refused' }
  if (!['PTR', 'ANY'].includes(type)) return { rcode: 'noerror' }
  return { rcode: 'noerror', answers: [{ name, type: 'PTR', ttl: ttlSeconds, data: found }] }
}

function addressRecords(name: string, addresses: readonly string[]): dns.Answer[] {
  return addresses.map((data): dns.Answer => ({ name, type: isIPv6(data) ? 'AAAA' : 'A', ttl: ttlSeconds, data }))
}

/** Those of a name's records that were asked for. ANY may be answered with whatever is at hand (RFC 8482). */
function some(records: readonly dns.Answer[], type: string): Verdict {
  const answers = records.filter((record) => ['ANY', record.type].includes(type))
  return answers.length === 0 ? nothing : { rcode: 'noerror', answers }
}

function soa(name: string, { domain }: Zone): dns.Answer {
  const data = {
    mname: domain,
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
  const head = header(packet, verdict, hasEdns)
  const additionals = [...(verdict.extras ?? []), ...(head.additionals ?? [])]
  return dns.encode({ ...head, answers: verdict.answers ?? [], authorities, additionals })
}

/** Too long for a datagram: come back by TCP (RFC 2181 section 9). */
function truncated(packet: dns.DecodedPacket, verdict: Verdict, hasEdns: boolean): Buffer {
  const head = header(packet, verdict, hasEdns)
  return dns.encode({ ...head, flags: head.flags! | dns.TRUNCATED_RESPONSE })
}
