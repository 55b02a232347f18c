// Going from snapshot to snapshot by changes leads to what all resources together lead to, and shares what it can.

import { expect } from 'chai'
import { buildNext, buildSteps, emptyStand, type Stand } from '../../../agent/mesh/apply.ts'
import type { Service } from '../../../agent/mesh/snapshot.ts'
import type { Resource } from '../../../controller/contract/resources.ts'
import { Dice } from '../../../scripts/fuzz/dice.ts'
import { change, endpoints, type Gone, mesh, service, spec, split, workload } from '../../support/resources.ts'

const surroundings = { node: 'node1', now: () => 0, compile: () => [] }

/** What a stand says, whatever objects it is made of. */
function said({ snapshot, backends, users, sides }: Stand) {
  const sorted = <V>(map: ReadonlyMap<unknown, V>) => [...map].sort(([a], [b]) => (`${a}` < `${b}` ? -1 : 1))
  const port = ({ ports }: Service) =>
    [...ports.values()].map(({ number, own, splits }) => ({
      number,
      own: own.key,
      splits: splits.map(({ choices }) => choices.map(({ backend, weight }) => [backend.key, weight])),
    }))
  return {
    services: sorted(snapshot.services).map(([key, each]) => [key, each.uid, each.policy, port(each)]),
    backends: sorted(backends).map(([key, { endpoints, policy }]) => [key, policy, endpoints.map((each) => each.spec)]),
    users: sorted(users).map(([key, names]) => [key, [...names].sort()]),
    sides: sorted(sides).map(([key, names]) => [key, [...names].sort()]),
    locals: [...snapshot.locals].sort(),
    workloads: sorted(snapshot.workloads),
  }
}

/** Every mention of a backend within a snapshot is the same object. */
function expectOneOfEach({ snapshot, backends }: Stand): void {
  for (const { ports } of snapshot.services.values()) {
    for (const { own, splits } of ports.values()) {
      expect(own).to.equal(backends.get(own.key))
      for (const { choices } of splits) {
        for (const { backend } of choices) expect(backend).to.equal(backends.get(backend.key))
      }
    }
  }
}

function some(dice: Dice): Resource | Gone {
  const name = () => `shop/s${dice.below(5)}`
  const port = { number: 80, name: 'http', protocol: 'http' as const }
  const address = () => spec(`10.0.0.${dice.below(6)}`, { node: dice.pick(['node1', 'node2']) })
  const kind = dice.below(10)
  if (kind < 4) return endpoints(`${name()}:80`, ...Array.from({ length: dice.below(4) }, address))
  if (kind < 5) return { kind: 'endpoints', name: `${name()}:80`, gone: true }
  if (kind < 6) return { kind: 'service', name: name(), gone: true }
  if (kind < 7) return workload(`10.0.0.${dice.below(3)}`)
  const splits = dice.chance(0.5) ? [split('shop/x', { [name()]: 1, [name()]: dice.below(9) })] : []
  const policy = dice.pick([{}, { plaintext: true }])
  return service(name(), { uid: `u${dice.below(3)}`, policy, ports: [{ ...port, splits }] })
}

describe('agent/mesh: from snapshot to snapshot', () => {
  for (const seed of [1, 2, 3]) {
    it(`comes to what all resources together come to (seed ${seed})`, () => {
      const dice = new Dice(seed)
      const held = new Map<string, Resource>()
      let stand = buildNext(emptyStand, '0', change(mesh), surroundings).stand
      for (let step = 0; step < 150; step++) {
        const items = Array.from({ length: 1 + dice.below(3) }, () => some(dice))
        for (const item of items) {
          if ('gone' in item) held.delete(`${item.kind} ${item.name}`)
          else held.set(`${item.kind} ${item.name}`, item)
        }
        const before = stand
        const built = buildNext(before, `${step}`, change(...items), surroundings)
        stand = built.stand
        const whole = buildNext(emptyStand, `${step}`, change(mesh, ...held.values()), surroundings).stand
        expect(said(stand), `step ${step}`).to.deep.equal(said(whole))
        expectOneOfEach(stand)
        const all = (each: Stand) => [...each.backends.values()].flatMap((backend) => [...backend.endpoints])
        const now = new Set(all(stand))
        expect(built.retired).to.have.members(all(before).filter((each) => !now.has(each)))
      }
    })
  }

  it('shares all that a change does not concern', () => {
    const resources = [service('shop/a'), endpoints('shop/a:80', '10.0.0.1'), service('shop/b')]
    const { stand } = buildNext(emptyStand, '1', change(mesh, ...resources), surroundings)
    const next = buildNext(stand, '2', change(endpoints('shop/b:80', '10.0.0.2')), surroundings).stand
    expect(next.snapshot.services.get('shop/a')).to.equal(stand.snapshot.services.get('shop/a'))
    expect(next.snapshot.services.get('shop/b')).not.to.equal(stand.snapshot.services.get('shop/b'))
    expect(next.snapshot.access).to.equal(stand.snapshot.access)
  })

  it('is made in small steps, which leave what is in force alone', () => {
    const { stand } = buildNext(emptyStand, '1', change(mesh, service('shop/a')), surroundings)
    const many = Array.from({ length: 50 }, (_, at) => service(`shop/s${at}`))
    const steps = buildSteps(stand, '2', change(...many), surroundings)
    let count = 0
    for (let step = steps.next(); !step.done; step = steps.next()) count++
    expect(count).to.be.at.least(100)
    expect([...stand.snapshot.services.keys()]).to.deep.equal(['shop/a'])
  })
})
