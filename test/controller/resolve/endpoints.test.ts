// From EndpointSlices to the endpoints of each port.

import { expect } from 'chai'
import type { EndpointSpec } from '../../../controller/contract/resources.ts'
import { type Pass, passOf, said, worldOf } from '../../support/world.ts'

const ground = `
{apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {weft.dev/mesh: enabled}}}
---
{apiVersion: v1, kind: Pod, metadata: {name: p1}, spec: {nodeName: n1}, status: {phase: Running, podIP: 10.1.0.1, podIPs: [{ip: 10.1.0.1}, {ip: "fd00::1"}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: p2}, spec: {nodeName: n1}, status: {phase: Running, podIP: 10.1.0.2}}
---
{apiVersion: v1, kind: Pod, metadata: {name: done}, spec: {nodeName: n1}, status: {phase: Succeeded, podIP: 10.1.0.3}}
`
const sixPod =
  '{apiVersion: v1, kind: Pod, metadata: {name: six}, spec: {nodeName: n1}, status: {phase: Running, podIP: "fd00::6"}}'
const service = (spec: string) => `{apiVersion: v1, kind: Service, metadata: {name: web}, spec: ${spec}}`
const slice = (name: string, endpoints: string, ports: string, family = 'IPv4') =>
  `{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: ${name}, labels: {kubernetes.io/service-name: web}}, addressType: ${family}, endpoints: ${endpoints}, ports: ${ports}}`

function run(...documents: string[]) {
  return shownOf(passOf(worldOf([ground, ...documents].join('\n---\n'))))
}

function shownOf({ topology, translation }: Pass) {
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

  describe('of a port that is renamed', () => {
    const named = (...names: string[]) =>
      service(`{ports: [${names.map((name, index) => `{name: ${name}, port: ${80 + index}}`)}]}`)
    const sliceOf = (...names: string[]) =>
      slice('s', one, `[${names.map((name, index) => `{name: ${name}, port: ${8080 + index}}`)}]`)
    const world = (...documents: string[]) => worldOf([ground, ...documents].join('\n---\n'))

    it('are kept until its slices have the new name', () => {
      let pass = passOf(world(named('old'), sliceOf('old')))
      // However many passes that takes.
      for (let count = 0; count < 3; count++) {
        pass = passOf(world(named('new'), sliceOf('old')), {}, pass.topology)
        expect(shownOf(pass).ports).to.deep.equal([[80, '10.1.0.1:8080']])
      }
      pass = passOf(world(named('new'), sliceOf('new')), {}, pass.topology)
      expect(shownOf(pass).ports).to.deep.equal([[80, '10.1.0.1:8080']])
      pass = passOf(world(named('new'), sliceOf('other')), {}, pass.topology)
      expect(shownOf(pass).ports).to.deep.equal([[80]])
    })

    it('are not taken from a port that has the old name now', () => {
      const { topology } = passOf(world(named('a', 'b'), sliceOf('a', 'b')))
      const pass = passOf(world(named('c', 'a'), sliceOf('a', 'b')), {}, topology)
      expect(shownOf(pass).ports).to.deep.equal([[80], [81, '10.1.0.1:8080']])
    })

    it('are not those of a Service that had the name before', () => {
      const { topology } = passOf(world(named('old'), sliceOf('old')))
      const reborn = named('new').replace('{name: web}', '{name: web, uid: reborn}')
      expect(shownOf(passOf(world(reborn, sliceOf('old')), {}, topology)).ports).to.deep.equal([[80]])
    })
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

  it('takes each pod of a dual-stack Service once, by the family that the Service prefers', () => {
    const six = slice('six', '[{addresses: ["fd00::1"]}]', port, 'IPv6')
    const four = slice('four', one, port)
    const prefers = (...families: string[]) => service(`{ipFamilies: [${families}], ports: [{port: 80}]}`)
    expect(run(prefers('IPv4', 'IPv6'), six, four)).to.deep.equal({ ports: [[80, '10.1.0.1:8080']], problems: [] })
    expect(run(prefers('IPv6', 'IPv4'), six, four)).to.deep.equal({ ports: [[80, 'fd00::1:8080']], problems: [] })
    expect(run(plain, six, four)).to.deep.equal({ ports: [[80, '10.1.0.1:8080']], problems: [] })
  })

  it('takes the other family where the preferred one has nothing ready', () => {
    const unready = slice('four', '[{addresses: [10.1.0.1], conditions: {ready: false}}]', port)
    const six = slice('six', '[{addresses: ["fd00::1"]}]', port, 'IPv6')
    expect(run(plain, unready, six).ports).to.deep.equal([[80, 'fd00::1:8080']])
    // What ends in the preferred family still comes after what is ready in the other.
    const ending = '[{addresses: [10.1.0.1], conditions: {ready: false, serving: true, terminating: true}}]'
    expect(run(plain, slice('four', ending, port), six).ports).to.deep.equal([[80, 'fd00::1:8080']])
  })

  it('has IPv6 endpoints in one spelling, each its pod', () => {
    const six = slice('six', '[{addresses: ["FD00:0::6"]}]', port, 'IPv6')
    const { topology } = passOf(worldOf([ground, sixPod, plain, six].join('\n---\n')))
    expect(topology.services[0]?.ports[0]?.endpoints).to.deep.equal([
      {
        address: 'fd00::6',
        port: 8080,
        node: 'n1',
        pod: 'shop/six',
        podUid: 'pod-six',
        account: 'shop/default',
        workload: '',
      },
    ])
  })

  it('speaks about IPv6 addresses that nobody may be sent to', () => {
    for (const address of ['::1', 'fe80::1', '2001:db8::99']) {
      const six = slice('six', `[{addresses: ["${address}"]}]`, port, 'IPv6')
      expect(run(plain, six), address).to.deep.equal({ ports: [[80]], problems: ['Service web: EndpointRefused'] })
    }
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
    expect(run(plain, slice('s', '[{addresses: ["fd00::1"]}]', port)).ports, 'in a slice of IPv4').to.deep.equal([[80]])
    expect(run(plain, slice('s', one, port, 'IPv6')).ports, 'in a slice of IPv6').to.deep.equal([[80]])
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
