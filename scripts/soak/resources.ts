// What the controller would say during a soak: endpoints come and go, a split moves its weights.

import type { EndpointSpec, Resource, ServiceResource } from '../../controller/contract/resources.ts'
import { meshResource } from '../bench/standin.ts'

/** Mesh port of the Service port 80. */
export const meshPort = 16384

const addresses = ['127.0.0.2', '127.0.0.3', '127.0.0.4']

function service(name: string, enrolled: boolean, weights: Record<string, number>): ServiceResource {
  const backends = Object.entries(weights).map(([backend, weight]) => ({ service: backend, weight }))
  const splits = backends.length === 0 ? [] : [{ name: `${name}-split`, matches: null, backends }]
  const ports = [{ number: 80, name: 'http', protocol: 'http' as const, splits }]
  return { kind: 'service', name, uid: `uid-${name}`, enrolled, address: '', ports, policy: {} }
}

function pod(name: string, address: string): Resource {
  const [live, startedAt] = [true, 1]
  return {
    kind: 'workload',
    name: `uid-${name}`,
    pod: `soak/${name}`,
    address,
    account: 'soak/pod',
    workload: name,
    live,
    startedAt,
  }
}

/**
 * The resources of one turn: of three endpoints one is missing in two turns of three, and the split between two backends
 * shifts by a tenth with each turn.
 * @param ports of the endpoints, one for each address
 */
export function resourcesFor(ports: readonly number[], turn: number): Resource[] {
  const specs = ports.map((port, index): EndpointSpec => {
    const name = `endpoint-${index}`
    const address = addresses[index]!
    return {
      address,
      port,
      node: 'node1',
      pod: `soak/${name}`,
      podUid: `uid-${name}`,
      account: 'soak/pod',
      workload: name,
    }
  })
  const present = specs.filter((_, index) => index !== turn % 4)
  const weight = turn % 11
  return [
    meshResource(),
    { kind: 'port', name: `${meshPort}`, port: 80, service: null },
    pod('caller', '127.0.0.1'),
    ...specs.map((_, index) => pod(`endpoint-${index}`, addresses[index]!)),
    service('soak/web', true, { 'soak/one': weight, 'soak/two': 10 - weight }),
    service('soak/one', false, {}),
    service('soak/two', false, {}),
    { kind: 'endpoints', name: 'soak/web:80', endpoints: specs },
    { kind: 'endpoints', name: 'soak/one:80', endpoints: present },
    { kind: 'endpoints', name: 'soak/two:80', endpoints: specs },
  ]
}
