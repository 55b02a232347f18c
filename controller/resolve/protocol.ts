// The protocol of a Service's port (DESIGN.md section 4): appProtocol, else the prefix of the port's name, else the
// annotation, else opaque for ports where servers speak first or in binary, else HTTP.

import type { Protocol } from '../contract/resources.ts'
import type { ServicePort } from '../observe/objects.ts'

/** What a port speaks: `http` is divided per request, everything else is carried as opaque bytes. */
export type Spoken = 'http' | 'grpc' | 'h2c' | 'opaque'

/** By appProtocol, port-name prefix and annotation value alike, in lower case. */
const known: ReadonlyMap<string, Spoken> = new Map([
  ['http', 'http'],
  ['http1', 'http'],
  ['http/1.1', 'http'],
  ['ws', 'http'],
  ['kubernetes.io/ws', 'http'],
  ['grpc', 'grpc'],
  ['h2c', 'h2c'],
  ['http2', 'h2c'],
  ['kubernetes.io/h2c', 'h2c'],
  ['tcp', 'opaque'],
  ['opaque', 'opaque'],
  ['https', 'opaque'],
  ['tls', 'opaque'],
  ['wss', 'opaque'],
  ['kubernetes.io/wss', 'opaque'],
  ['smtp', 'opaque'],
  ['mysql', 'opaque'],
  ['postgres', 'opaque'],
  ['postgresql', 'opaque'],
  ['redis', 'opaque'],
  ['kafka', 'opaque'],
  ['memcached', 'opaque'],
  ['mongo', 'opaque'],
  ['mongodb', 'opaque'],
  ['amqp', 'opaque'],
])

const opaquePorts: ReadonlySet<number> = new Set([25, 587, 3306, 5432, 6379, 9092, 11211, 27017])

/** What the value of an annotation means, or null if it names no protocol. */
export function readProtocol(value: string): Spoken | null {
  return known.get(value.trim().toLowerCase()) ?? null
}

/**
 * Decides what a port speaks.
 * @param annotated what the Service's annotation says; null if there is none
 */
export function spokenOn(port: ServicePort, annotated: Spoken | null): Spoken {
  // An appProtocol that we don't know names something that is not HTTP.
  if (port.appProtocol) return known.get(port.appProtocol.toLowerCase()) ?? 'opaque'
  // `grpc-web` is HTTP/1.1 and must not be taken for the prefix `grpc`.
  if (port.name?.startsWith('grpc-web')) return 'http'
  const prefix = port.name?.split('-', 1)[0]?.toLowerCase() ?? ''
  const named = known.get(prefix)
  if (named) return named
  if (annotated) return annotated
  return opaquePorts.has(port.port) ? 'opaque' : 'http'
}

/** What the agents make of it. */
export function carriedAs(spoken: Spoken): Protocol {
  return spoken === 'http' ? 'http' : 'tcp'
}
