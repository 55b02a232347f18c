// From EndpointSlices to the endpoints of each port.

import { expect } from 'chai'
import type { EndpointSpec } from '../../../controller/contract/resources.ts'
import { passOf, said, worldOf } from '../../support/world.ts'

const ground = `
{apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {weft.dev/mesh: enabled}}}
---
{apiVersion: v1, kind: Pod, metadata: {name: p1}, spec: {nodeName: n1}, status: {phase: Running, podIP: 10.1.0.1, podIPs: [{ip: 10.1.0.1}, {ip: "fd00::1"}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: p2}, spec: {nodeName: n1}, status: {phase: Running, podIP: 10.1.0.2}}
---
{apiVersion: v1, kind: Pod, metadata: {name: done}, spec: {nodeName: n1}, status: {phase: Succeeded, podIP: 10.1.0.3}}
`
const service = (spec: string) => `{apiVersion: v1, kind: Service, metadata: {name: web}, spec: ${spec}}`
const slice = (name: string, endpoints: string, ports: string, family = 'IPv4') =>
  `{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: ${name}, labels: {kubernetes.io/service-name: web}}, addressType: ${family}, endpoints: ${endpoints}, ports: ${ports}}`

function run(...documents: string[]) {
  const { topology, translation } = passOf(worldOf([ground, ...documents].join('\n---\n')))
  const ports = topology.services.find(({ key }) => key === 'shop/web')?.ports ?? []
  const shown = ({ address, port }: EndpointSpec) => `${address}:${port}`
  return {
    ports: ports.map(({ number, endpoints }) => [number, ...endpoints.map(shown)]),
    problems: said(translation.problems),
  }
}

const plain = service('{ports: [{port: 80}]}')
const one = '[{addresses: [10.1.0.1]}]'
const port = '[{port: 8080}]'

describe('endpoints', () => {
  it('joins ports by name, each with its own target', () => {
    const both = service('{ports: [{name: a, port: 80}, {name: b, port: 81}, {name: c, port: 82}]}')
    const slices = slice('s', one, '[{name: b, port: 9001}, {name: a, port: 9000}]')
    expect(run(both, slices).ports).to.deep.equal([[80, '10.1.0.1:9000'], [81, '10.1.0.1:9001'], [82]])
  })

  it('takes an absent, a null and an empty name for the same', () => {
    for (const list of [port, '[{name: null, port: 8080}]', '[{name: "", port: 8080}]']) {
      expect(run(plain, slice('s', one, list)).ports).to.deep.equal([[80, '10.1.0.1:8080']])
    }
  })

  it('keeps UDP and TCP of one number apart', () => {
    const dns = service('{ports: [{name: udp, port: 53, protocol: UDP}, {name: tcp, port: 53, protocol: TCP}]}')
    const { ports } = run(
      dns,
      slice('s', one, '[{name: udp, port: 53, protocol: UDP}, {name: tcp, port: 5353, protocol: TCP}]'),
    )
    expect(ports).to.deep.equal([[53, '10.1.0.1:5353']])
  })

  it('takes those that are ready, or don’t say', () => {
    const endpoints =
      '[{addresses: [10.1.0.1], conditions: {ready: false, serving: true, terminating: true}}, {addresses: [10.1.0.2], conditions: {ready: null}}]'
    expect(run(plain, slice('s', endpoints, port)).ports).to.deep.equal([[80, '10.1.0.2:8080']])
  })

  it('takes those that end but still serve where none is ready', () => {
    const ending = (serving: boolean) => `conditions: {ready: false, serving: ${serving}, terminating: true}`
    const starting = 'conditions: {ready: false, serving: false, terminating: false}'
    const endpoints = `[{addresses: [10.1.0.1], ${ending(true)}}, {addresses: [10.1.0.2], ${starting}}]`
    expect(run(plain, slice('s', endpoints, port)).ports).to.deep.equal([[80, '10.1.0.1:8080']])
    const ready = slice('t', '[{addresses: [10.1.0.2]}]', port)
    expect(run(plain, slice('s', endpoints, port), ready).ports).to.deep.equal([[80, '10.1.0.2:8080']])
    expect(run(plain, slice('s', `[{addresses: [10.1.0.1], ${ending(false)}}]`, port)).ports).to.deep.equal([[80]])
  })

  it('counts an address once, in however many slices it stands, and sorts', () => {
    const twice = '[{addresses: [10.1.0.2]}, {addresses: [10.1.0.1]}]'
    expect(run(plain, slice('s', twice, port), slice('t', one, port)).ports).to.deep.equal([
      [80, '10.1.0.1:8080', '10.1.0.2:8080'],
    ])
  })

  it('takes the IPv4 half of a dual-stack Service, and says if there is none', () => {
    const six = slice('six', '[{addresses: ["fd00::1"]}]', port, 'IPv6')
    expect(run(plain, six, slice('four', one, port))).to.deep.equal({ ports: [[80, '10.1.0.1:8080']], problems: [] })
    expect(run(plain, six)).to.deep.equal({ ports: [[80]], problems: ['Service web: EndpointRefused'] })
  })

  it('survives what the API server writes for nothing', () => {
    for (const endpoints of ['null', '[]', '[{addresses: []}]']) {
      expect(run(plain, slice('s', endpoints, port)).ports).to.deep.equal([[80]])
    }
    for (const ports of ['null', '[]', '[{port: null}]']) {
      expect(run(plain, slice('s', one, ports)).ports).to.deep.equal([[80]])
    }
  })

  it('takes no name for an address', () => {
    const { ports, problems } = run(plain, slice('s', '[{addresses: [evil.example.com]}]', port, 'FQDN'))
    expect(ports).to.deep.equal([[80]])
    expect(problems).to.deep.equal([])
    expect(run(plain, slice('s', '[{addresses: ["fd00::1"]}]', port)).ports).to.deep.equal([[80]])
  })

  it('is silent about slices that lag behind a pod’s end or run ahead of its start', () => {
    const endpoints = '[{addresses: [10.1.0.3]}, {addresses: [10.1.0.99], targetRef: {kind: Pod, name: unborn}}]'
    expect(run(plain, slice('s', endpoints, port))).to.deep.equal({ ports: [[80]], problems: [] })
  })

  it('speaks about addresses that pretend to be a pod', () => {
    const endpoints = '[{addresses: [169.254.169.254], targetRef: {kind: Pod, name: p1}}]'
    expect(run(plain, slice('s', endpoints, port)).problems).to.deep.equal(['Service web: EndpointRefused'])
  })

  it('takes slices of its own namespace alone', () => {
    const foreign = slice('s', one, port).replace('name: s,', 'name: s, namespace: bank,')
    expect(run(plain, foreign).ports).to.deep.equal([[80]])
  })
})
