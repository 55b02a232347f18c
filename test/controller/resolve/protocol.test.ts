// What a port speaks, by whatever says it first.

import { expect } from 'chai'
import type { ServicePort } from '../../../controller/observe/objects.ts'
import { carriedAs, type Spoken, spokenOn } from '../../../controller/resolve/protocol.ts'

describe('the protocol of a port', () => {
  const cases: [string, Partial<ServicePort>, Spoken | null, Spoken][] = [
    ['nothing said', {}, null, 'http'],
    ['appProtocol before all else', { appProtocol: 'http', name: 'tcp-x', port: 5432 }, 'opaque', 'http'],
    ['appProtocol h2c', { appProtocol: 'kubernetes.io/h2c' }, null, 'h2c'],
    ['appProtocol ws', { appProtocol: 'kubernetes.io/ws' }, null, 'http'],
    ['appProtocol wss', { appProtocol: 'kubernetes.io/wss' }, null, 'opaque'],
    ['appProtocol in capitals', { appProtocol: 'HTTPS' }, null, 'opaque'],
    ['an appProtocol nobody knows', { appProtocol: 'example.com/own', name: 'http-x' }, null, 'opaque'],
    ['a name with prefix', { name: 'tcp-db' }, 'http', 'opaque'],
    ['a name that is only the prefix', { name: 'grpc' }, null, 'grpc'],
    ['grpc-web, which is HTTP/1.1', { name: 'grpc-web' }, null, 'http'],
    ['http2', { name: 'http2-api' }, null, 'h2c'],
    ['a name without meaning', { name: 'main-port' }, 'opaque', 'opaque'],
    ['the annotation before well-known ports', { port: 5432 }, 'http', 'http'],
    ['well-known ports', { port: 6379 }, null, 'opaque'],
  ]
  for (const [what, port, annotated, expected] of cases) {
    it(`is ${expected} for ${what}`, () => expect(spokenOn({ port: 80, ...port }, annotated)).to.equal(expected))
  }

  it('carries all but HTTP/1 as bytes', () => {
    expect((['http', 'grpc', 'h2c', 'opaque'] as const).map(carriedAs)).to.deep.equal(['http', 'tcp', 'tcp', 'tcp'])
  })
})
