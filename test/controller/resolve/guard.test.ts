// Which addresses may be an endpoint, whoever wrote them.

import { expect } from 'chai'
import { canonicalAddress, isReserved } from '../../../controller/resolve/addresses.ts'
import { isHostAllowed, makeGuard } from '../../../controller/resolve/guard.ts'
import { indexPods } from '../../../controller/resolve/pods.ts'
import { defaultSettings, type Settings } from '../../../controller/resolve/settings.ts'
import { worldOf } from '../../support/world.ts'

const ground = `
{apiVersion: v1, kind: Node, metadata: {name: n}, status: {addresses: [{type: InternalIP, address: 192.168.0.1}, {type: InternalIP, address: "2001:db8::1"}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {nodeName: n}, status: {phase: Running, podIP: 127.44.1.5, podIPs: [{ip: 127.44.1.5}, {ip: "2001:DB8:0::5"}], hostIP: 192.168.0.2}}
---
{apiVersion: v1, kind: Service, metadata: {name: s}, spec: {clusterIP: 10.96.0.5, clusterIPs: [10.96.0.5, "2001:db8:96::5"], externalIPs: [198.51.100.7]}, status: {loadBalancer: {ingress: [{ip: 198.51.100.8}, {hostname: lb.example.com}]}}}
---
{apiVersion: v1, kind: Service, metadata: {name: headless}, spec: {clusterIP: None}}`

function judge(address: string, settings: Partial<Settings> = {}) {
  const all = { ...defaultSettings, ...settings }
  const world = worldOf(ground)
  return makeGuard(world, all, indexPods(world, all))(address)
}

describe('the guard of endpoint addresses', () => {
  it("takes a known pod's address for that pod, even on a loopback network", () => {
    expect(judge('127.44.1.5')).to.have.nested.property('seat.key', 'shop/p')
    expect(judge('2001:db8::5')).to.have.nested.property('seat.key', 'shop/p')
    expect(judge('::ffff:127.44.1.5')).to.have.nested.property('seat.key', 'shop/p')
  })

  const everything = ['0.0.0.0/0', '::/0']
  for (const address of [
    '127.0.0.1',
    '127.44.1.6',
    '0.0.0.0',
    '169.254.169.254',
    '224.0.0.1',
    '255.255.255.255',
    '::',
    '::1',
    '::127.0.0.1',
    '::ffff:127.0.0.1',
    '::ffff:7f00:1',
    '::ffff:169.254.169.254',
    '64:ff9b::a9fe:a9fe',
    '2002:7f00:1::',
    'fe80::1',
    'fe80::1%eth0',
    'ff02::1',
    '192.168.0.1',
    '192.168.0.2',
    '::ffff:192.168.0.1',
    '2001:db8:0::1',
    '10.96.0.5',
    '2001:db8:96::5',
    '198.51.100.7',
    '198.51.100.8',
    '0177.0.0.1',
    '2130706433',
    '127.1',
    'localhost',
    'None',
    '',
  ]) {
    it(`refuses ${address || 'nothing'}, whatever the flag allows`, () => {
      expect(judge(address, { foreignCidrs: everything })).to.have.property('refusal')
    })
  }

  it('takes other addresses only where the flag allows them', () => {
    expect(judge('203.0.113.5')).to.have.property('refusal').that.includes('--foreign-cidrs')
    expect(judge('203.0.113.5', { foreignCidrs: ['203.0.113.0/24'] })).to.deep.equal({
      address: '203.0.113.5',
      seat: null,
    })
    expect(judge('203.0.114.5', { foreignCidrs: ['203.0.113.0/24'] })).to.have.property('refusal')
    expect(judge('2001:db8:1::5', { foreignCidrs: ['2001:db8:1::/48'] })).to.deep.equal({
      address: '2001:db8:1::5',
      seat: null,
    })
    expect(judge('203.0.113.5', { foreignCidrs: ['203.0.113.5'] })).to.have.property('seat', null)
  })
})

describe('addresses', () => {
  it('has one spelling for each', () => {
    expect(canonicalAddress('2001:DB8:0:0:0::1')).to.equal('2001:db8::1')
    expect(canonicalAddress('::FFFF:10.0.0.1')).to.equal('10.0.0.1')
    for (const text of ['10.0.0', '10.0.0.1/8', '::1%lo', 'x', '010.0.0.1'])
      expect(canonicalAddress(text), text).to.equal(null)
  })

  it('takes ordinary addresses for ordinary', () => {
    for (const address of ['10.0.0.1', '8.8.8.8', '100.64.0.1', '2001:db8::1', 'fd00::1'])
      expect(isReserved(address), address).to.equal(false)
  })
})

describe('hosts of ExternalName Services', () => {
  const allowed = (host: string, ...foreignHosts: string[]) => isHostAllowed(host, { ...defaultSettings, foreignHosts })

  it('allows what a pattern names, one label for its star', () => {
    expect(allowed('API.example.com.', 'api.example.com')).to.equal(true)
    expect(allowed('a.example.com', '*.example.com')).to.equal(true)
    expect(allowed('a.b.example.com', '*.example.com')).to.equal(false)
    expect(allowed('example.com', '*.example.com')).to.equal(false)
    expect(allowed('evilexample.com', '*.example.com')).to.equal(false)
    expect(allowed('x.example.com')).to.equal(false)
  })

  it('never takes an address or this machine for a host', () => {
    for (const host of ['127.0.0.1', '2130706433', '127.1', '0x7f000001', '1.0x1', '::1', 'localhost', ''])
      expect(allowed(host, host, '*'), host).to.equal(false)
  })
})
