// From Host and mesh port to a service's port.

import { expect } from 'chai'
import { MeshError } from '../../../agent/errors.ts'
import { destination } from '../../../agent/outbound/destination.ts'
import { service, snapshot } from '../../support/snapshot.ts'

const shared = { kind: 'port', name: '16384', port: 9080, service: null } as const
const dedicated = { kind: 'port', name: '16500', port: 3306, service: { name: 'shop/db', uid: 'uid-db' } } as const
const stale = { kind: 'port', name: '16501', port: 3306, service: { name: 'shop/db', uid: 'uid-old' } } as const
const gone = { kind: 'port', name: '16502', port: 3306, service: { name: 'shop/gone', uid: 'uid-gone' } } as const

const now = snapshot({
  services: [
    service({ key: 'shop/reviews', ports: [{ number: 9080 }, { number: 80 }] }),
    service({ key: 'other/reviews' }),
    service({ key: 'shop/leaf', enrolled: false }),
    service({
      key: 'shop/db',
      uid: 'uid-db',
      ports: [
        { number: 3306, protocol: 'tcp' },
        { number: 9080, protocol: 'tcp' },
      ],
    }),
    service({ key: 'shop/odd-mesh' }),
    service({ key: 'shop/odd' }),
  ],
  ports: [shared, dedicated, stale, gone],
})

/** What the host leads to: `namespace/name:port`, or the reason. */
function lead(meshPort: number, host: string, hostPort = 0, namespace = 'shop'): string {
  const found = destination(now, meshPort, host, hostPort, namespace)
  return found instanceof MeshError ? found.reason : `${found.service.key}:${found.number}`
}

describe('outbound destination', () => {
  describe('on a shared mesh port', () => {
    const hosts: [string, string][] = [
      ['reviews-mesh', 'shop/reviews:9080'],
      ['reviews-mesh.shop', 'shop/reviews:9080'],
      ['reviews-mesh.other', 'other/reviews:9080'],
      ['reviews-mesh.shop.svc', 'shop/reviews:9080'],
      ['reviews-mesh.shop.svc.cluster.local', 'shop/reviews:9080'],
      ['reviews.shop.mesh.internal', 'shop/reviews:9080'],
      ['reviews-mesh.shop.mesh.internal', 'no_route'],
      ['odd-mesh.shop.mesh.internal', 'shop/odd-mesh:9080'],
      ['reviews.mesh.internal', 'no_route'],
      ['a.reviews.shop.mesh.internal', 'no_route'],
      ['mesh.internal', 'no_route'],
      ['reviews', 'no_route'],
      ['reviews.shop', 'no_route'],
      ['reviews.shop.svc.cluster.local', 'no_route'],
      ['reviews-mesh.shop.svc.other.local', 'no_route'],
      ['reviews-mesh.shop.cluster.local', 'no_route'],
      ['reviews-mesh.shop.svc.svc', 'no_route'],
      ['a.reviews-mesh.shop', 'no_route'],
      ['-mesh', 'no_route'],
      ['-mesh.shop', 'no_route'],
      ['.shop', 'no_route'],
      ['reviews-mesh.', 'no_route'],
      ['.svc', 'no_route'],
      ['', 'no_route'],
      ['unknown-mesh', 'no_route'],
      ['leaf-mesh', 'not_enrolled'],
      ['odd-mesh', 'shop/odd:9080'],
      ['odd-mesh-mesh', 'shop/odd-mesh:9080'],
      ['169.254.169.254', 'no_route'],
      ['localhost', 'no_route'],
      ['__proto__', 'no_route'],
    ]
    for (const [host, expected] of hosts) {
      it(`${host || '(no host)'} leads to ${expected}`, () => expect(lead(16384, host)).to.equal(expected))
    }

    it("takes a name of one label in the caller's namespace alone", () => {
      expect(lead(16384, 'reviews-mesh', 0, 'other')).to.equal('other/reviews:9080')
      expect(lead(16384, 'reviews-mesh', 0, '')).to.equal('no_route')
      expect(lead(16384, 'reviews-mesh', 0, 'third')).to.equal('no_route')
    })

    it("takes the service's port from the mesh port, not from the Host", () => {
      expect(lead(16384, 'reviews-mesh', 80)).to.equal('shop/reviews:9080')
    })

    it('leads to no opaque port', () => expect(lead(16384, 'db-mesh')).to.equal('no_route'))
  })

  describe('on the entry port', () => {
    const hosts: [string, number, string][] = [
      ['reviews', 9080, 'shop/reviews:9080'],
      ['reviews', 0, 'shop/reviews:80'],
      ['reviews.other', 9080, 'other/reviews:9080'],
      ['reviews.other', 0, 'no_route'],
      ['reviews.shop.svc.cluster.local', 9080, 'shop/reviews:9080'],
      ['reviews-mesh.shop', 9080, 'shop/reviews:9080'],
      ['reviews.shop.mesh.internal', 9080, 'shop/reviews:9080'],
      ['odd-mesh', 9080, 'shop/odd-mesh:9080'],
      ['leaf', 9080, 'not_enrolled'],
      ['db', 3306, 'no_route'],
      ['example.com', 80, 'no_route'],
      ['10.0.0.1', 9080, 'no_route'],
    ]
    for (const [host, port, expected] of hosts) {
      it(`${host}:${port} leads to ${expected}`, () => expect(lead(0, host, port)).to.equal(expected))
    }
  })

  describe('on a dedicated mesh port', () => {
    it('asks the port alone', () => {
      for (const host of ['', 'reviews-mesh', 'anything.example']) {
        expect(lead(16500, host)).to.equal('shop/db:3306')
      }
    })
    it("refuses another Service's UID", () => expect(lead(16501, '')).to.equal('not_enrolled'))
    it('refuses a Service that is gone', () => expect(lead(16502, '')).to.equal('not_enrolled'))
    it('refuses a port that stands for nothing', () => expect(lead(16999, '')).to.equal('no_route'))
  })

  it('answers from memory, without mixing up ports, namespaces and snapshots', () => {
    for (let i = 0; i < 3; i++) {
      expect(lead(16384, 'reviews-mesh', 0, 'shop')).to.equal('shop/reviews:9080')
      expect(lead(16384, 'reviews-mesh', 0, 'other')).to.equal('other/reviews:9080')
      expect(lead(0, 'reviews-mesh', 80, 'shop')).to.equal('shop/reviews:80')
      expect(lead(0, 'reviews-mesh', 9080, 'shop')).to.equal('shop/reviews:9080')
    }
    const empty = destination(snapshot({ ports: [shared] }), 16384, 'reviews-mesh', 0, 'shop')
    expect(empty).to.be.instanceOf(MeshError)
  })
})
