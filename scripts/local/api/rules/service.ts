// Services: defaults, ClusterIPs, and the checks of ports and names. A ClusterIP stays with its Service for life.

import type { Backend } from '../backend.ts'
import { ApiError, duplicate, type FieldError, required, unsupported, wrong } from '../errors.ts'
import { isLabel, isSubdomain } from '../metadata.ts'
import type { AnyObject } from '../object.ts'
import type { Rules } from './index.ts'

interface Port {
  name?: string
  protocol?: string
  port?: number
  targetPort?: number | string
}

interface ServiceSpec {
  type?: string
  clusterIP?: string
  clusterIPs?: string[]
  ipFamilies?: string[]
  ipFamilyPolicy?: string
  externalName?: string
  ports?: Port[]
  sessionAffinity?: string
  internalTrafficPolicy?: string
}

const types = ['ClusterIP', 'ExternalName', 'LoadBalancer', 'NodePort']
const protocols = ['SCTP', 'TCP', 'UDP']
const policies = ['Cluster', 'Local']

function specOf(object: AnyObject | undefined): ServiceSpec {
  return (object?.['spec'] ?? {}) as ServiceSpec
}

function fill(object: AnyObject, old: AnyObject | undefined, backend: Backend): void {
  const spec = { ...specOf(object) }
  object['spec'] = spec
  spec.type ??= 'ClusterIP'
  spec.sessionAffinity ??= 'None'
  for (const port of spec.ports ?? []) {
    port.protocol ??= 'TCP'
    if (port.port !== undefined) port.targetPort ||= port.port
  }
  object['status'] ??= { loadBalancer: {} }
  if (spec.type === 'ExternalName') {
    dropAddress(spec, specOf(old))
    return
  }
  spec.internalTrafficPolicy ??= 'Cluster'
  spec.ipFamilies ??= ['IPv4']
  spec.ipFamilyPolicy ??= 'SingleStack'
  spec.clusterIP ||= spec.clusterIPs?.[0] ?? specOf(old).clusterIP ?? allocate(backend)
  // A client that changes only clusterIP means both; one that clears clusterIPs gets them back.
  if (spec.clusterIPs?.[0] !== spec.clusterIP) spec.clusterIPs = [spec.clusterIP]
}

/** What a Service that becomes an ExternalName still has from before goes, unless the client set it anew. */
function dropAddress(spec: ServiceSpec, old: ServiceSpec): void {
  for (const field of ['clusterIP', 'clusterIPs', 'ipFamilies', 'ipFamilyPolicy', 'internalTrafficPolicy'] as const) {
    if (spec[field] === undefined || old.type !== 'ExternalName') delete spec[field]
  }
}

function toNumber(ip: string): number {
  return ip.split('.').reduce((sum, part) => sum * 256 + Number(part), 0)
}

function toAddress(value: number): string {
  return [24, 16, 8, 0].map((shift) => (value >>> shift) & 255).join('.')
}

/** First and last address that a Service may have. */
function range(cidr: string): { first: number; last: number } {
  const [network = '', bits = ''] = cidr.split('/')
  const first = toNumber(network)
  return { first: first + 1, last: first + 2 ** (32 - Number(bits)) - 2 }
}

function takenAddresses(backend: Backend): Set<string | undefined> {
  return new Set(backend.storage.list('/services').map((service) => specOf(service).clusterIP))
}

// In all but tiny networks, low addresses are left to those who ask for one, such as DNS.
const reserved = 16
const tiny = 64

function allocate(backend: Backend): string {
  const { first, last } = range(backend.serviceCidr)
  const start = last - first < tiny ? first : first + reserved
  const count = last - start + 1
  const taken = takenAddresses(backend)
  for (let tried = 0; tried < count; tried += 1) {
    const address = toAddress(start + (backend.addressCursor % count))
    // Round and round, so that an address that became free is not given away at once.
    backend.addressCursor += 1
    if (!taken.has(address)) return address
  }
  const why = `failed to allocate a serviceIP: range is full: ${backend.serviceCidr}`
  throw new ApiError(500, 'InternalError', `Internal error occurred: ${why}`)
}

function check(object: AnyObject, old: AnyObject | undefined, backend: Backend): FieldError[] {
  const spec = specOf(object)
  const errors: FieldError[] = []
  if (!types.includes(spec.type ?? '')) errors.push(unsupported('spec.type', spec.type, types))
  if (spec.type === 'ExternalName') errors.push(...checkExternalName(spec))
  else errors.push(...checkAddress(spec, specOf(old), backend))
  const policy = spec.internalTrafficPolicy
  if (policy !== undefined && !policies.includes(policy)) {
    errors.push(unsupported('spec.internalTrafficPolicy', policy, policies))
  }
  errors.push(...checkPorts(spec))
  return errors
}

function checkExternalName({ externalName }: ServiceSpec): FieldError[] {
  if ((externalName ?? '') === '') return [required('spec.externalName')]
  const name = externalName!.endsWith('.') ? externalName!.slice(0, -1) : externalName!
  return isSubdomain(name) ? [] : [wrong('spec.externalName', externalName, 'must be a DNS name in lower case')]
}

function checkAddress(spec: ServiceSpec, old: ServiceSpec, backend: Backend): FieldError[] {
  const address = spec.clusterIP!
  if (old.clusterIP !== undefined) {
    if (old.clusterIP === address) return []
    return [wrong('spec.clusterIPs[0]', address, 'may not change once set')]
  }
  if (address === 'None') return []
  const { first, last } = range(backend.serviceCidr)
  const shown = { reason: 'FieldValueInvalid' as const, field: 'spec.clusterIPs' }
  const prefix = `Invalid value: ["${address}"]: failed to allocate IP ${address}: `
  if (!/^\d+\.\d+\.\d+\.\d+$/.test(address)) return [wrong('spec.clusterIPs[0]', address, 'must be a valid IP address')]
  if (toNumber(address) < first || toNumber(address) > last) {
    const message = `${prefix}the provided network does not match the current range`
    return [{ ...shown, message }]
  }
  return takenAddresses(backend).has(address)
    ? [{ ...shown, message: `${prefix}provided IP is already allocated` }]
    : []
}

function checkPorts(spec: ServiceSpec): FieldError[] {
  const ports = spec.ports ?? []
  const mayBeEmpty = spec.type === 'ExternalName' || spec.clusterIP === 'None'
  if (ports.length === 0) return mayBeEmpty ? [] : [required('spec.ports')]
  const errors = ports.flatMap((port, i) => checkPort(port, `spec.ports[${i}]`, ports.length > 1))
  for (const [i, port] of ports.entries()) {
    const earlier = ports.slice(0, i)
    if (port.name !== undefined && earlier.some(({ name }) => name === port.name)) {
      errors.push(duplicate(`spec.ports[${i}].name`, port.name))
    }
    if (earlier.some((one) => one.port === port.port && one.protocol === port.protocol)) {
      errors.push(duplicate(`spec.ports[${i}]`, { port: port.port, protocol: port.protocol }))
    }
  }
  return errors
}

function checkPort(port: Port, path: string, needsName: boolean): FieldError[] {
  const errors: FieldError[] = []
  if ((port.name ?? '') === '') {
    if (needsName) errors.push(required(`${path}.name`))
  } else if (!isLabel(port.name!)) errors.push(wrong(`${path}.name`, port.name, 'must be a DNS label'))
  if (port.port === undefined || port.port < 1 || port.port > 65535) {
    errors.push(wrong(`${path}.port`, port.port ?? 0, 'must be between 1 and 65535, inclusive'))
  }
  if (!protocols.includes(port.protocol ?? '')) errors.push(unsupported(`${path}.protocol`, port.protocol, protocols))
  const target = port.targetPort
  const isBadNumber = typeof target === 'number' && (target < 1 || target > 65535)
  if (isBadNumber) errors.push(wrong(`${path}.targetPort`, target, 'must be between 1 and 65535, inclusive'))
  if (typeof target === 'string' && !/^(?=.{1,15}$)(?=.*[a-z])[a-z0-9]+(-[a-z0-9]+)*$/.test(target)) {
    errors.push(wrong(`${path}.targetPort`, target, 'must be a port name: at most 15 lower case letters, digits and -'))
  }
  return errors
}

export const serviceRules: Rules = { fill, check }
