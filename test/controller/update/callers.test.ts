// What agents say of callers, and what comes of it: Events on the right objects, and nothing on the word of an agent whose
// business it is not.

import { expect } from 'chai'
import type { CallerNotice, Report } from '../../../controller/contract/messages.ts'
import type { Pod, Service } from '../../../controller/observe/objects.ts'
import { emptyWorld, type World } from '../../../controller/observe/world.ts'
import { type Callers, openCallers } from '../../../controller/update/callers.ts'
import { FakeClock } from '../../support/clock.ts'

const notice: CallerNotice = { kind: 'tls-on-http', pod: 'shop/client-1', podUid: 'uid-1', port: 9080, service: '' }
const report = (node: string, ...notices: CallerNotice[]): Report => ({
  ...{ node, pod: `agent-${node}`, version: '1', error: null },
  ...(notices.length === 0 ? {} : { notices }),
})
const metadata = (name: string, uid: string) => ({ name, namespace: 'shop', uid, resourceVersion: '1' })
const pod = {
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: metadata('client-1', 'uid-1'),
  spec: { nodeName: 'node1' },
} as Pod
const web = { apiVersion: 'v1', kind: 'Service', metadata: metadata('web', 'uid-web'), spec: {} } as Service
const world: World = {
  ...emptyWorld,
  pods: new Map([['shop/client-1', pod]]),
  services: new Map([['shop/web', web]]),
}

describe('what agents notice of callers', () => {
  let clock: FakeClock
  let callers: Callers
  beforeEach(() => {
    clock = new FakeClock()
    callers = openCallers(clock)
  })

  it("becomes an Event on the caller's pod that names the fix", () => {
    expect(callers.take(report('node1', notice))).to.equal(true)
    const [event, ...more] = callers.notices(world)
    expect(more).to.deep.equal([])
    expect(event!.object).to.include({ kind: 'Pod', namespace: 'shop', name: 'client-1', uid: 'uid-1' })
    expect(event!.reason).to.equal('TlsOnHttpPort')
    expect(event!.message).to.include('port 9080').and.include('http://').and.include('appProtocol to https')
  })

  it('becomes another on the Service that has the port to itself', () => {
    callers.take(report('node1', { ...notice, kind: 'h2-on-shared', service: 'shop/web' }))
    const events = callers.notices(world)
    expect(events.map(({ object }) => object.kind)).to.deep.equal(['Pod', 'Service'])
    expect(events[1]!.reason).to.equal('Http2OnHttpPort')
    expect(events[1]!.message).to.include('shop/client-1').and.include('kubernetes.io/h2c')
  })

  it('speaks of the entry port as such', () => {
    callers.take(report('node1', { ...notice, port: 0 }))
    expect(callers.notices(world)[0]!.message).to.include('entry port')
  })

  it('is new once, and over when the agent does not say it any more, or nothing', () => {
    expect(callers.take(report('node1', notice))).to.equal(true)
    expect(callers.take(report('node1', notice))).to.equal(false)
    expect(callers.take(report('node1', notice, { ...notice, port: 80 }))).to.equal(true)
    expect(callers.notices(world)).to.have.length(2)
    expect(callers.take(report('node1'))).to.equal(false)
    expect(callers.notices(world)).to.deep.equal([])
    callers.take(report('node1', notice))
    clock.tick(41 * 60_000)
    expect(callers.notices(world)).to.deep.equal([])
  })

  const unbelieved: [string, string, Partial<CallerNotice>][] = [
    ["of another node's pod", 'node2', {}],
    ['of a pod that has gone', 'node1', { pod: 'shop/other' }],
    ['of a pod that was replaced', 'node1', { podUid: 'uid-0' }],
  ]
  for (const [what, node, change] of unbelieved) {
    it(`is not believed ${what}`, () => {
      callers.take(report(node, { ...notice, ...change }))
      expect(callers.notices(world)).to.deep.equal([])
    })
  }

  it('is no Event on a Service that is not there', () => {
    callers.take(report('node1', { ...notice, service: 'shop/gone' }))
    expect(callers.notices(world)).to.have.length(1)
  })
})
