// Mesh ports: given, recorded, read back, left to rest.

import { expect } from 'chai'
import { readClaims, writeClaims } from '../../../controller/resolve/claims.ts'
import {
  allocate,
  dedicatedOwner,
  readRecord,
  restingShared,
  restMs,
  sharedOwner,
  type Wish,
  writeResting,
} from '../../../controller/resolve/meshports.ts'
import { defaultSettings } from '../../../controller/resolve/settings.ts'
import type { PortBook } from '../../../controller/resolve/topology.ts'
import { worldOf } from '../../support/world.ts'

const range = { first: 100, last: 109 }
const nothing = { claims: [], resting: [] }
const wish = (owner: string, createdAt = 1): Wish => ({ owner, createdAt })
const give = (
  wishes: Wish[],
  options: {
    claims?: { meshPort: number; owner: string }[]
    claimed?: { meshPort: number; owner: string }[]
    previous?: PortBook
    at?: number
    resting?: PortBook['resting']
  } = {},
) =>
  allocate(
    wishes,
    { claims: options.claims ?? [], claimed: options.claimed ?? [], resting: options.resting ?? [] },
    options.previous ?? null,
    range,
    options.at ?? 0,
  )

describe('mesh ports', () => {
  it('depends on the owner alone, not on order or company', () => {
    const alone = allocate([wish('a/x:80')], nothing, null, defaultSettings.meshPorts, 0)
    const among = allocate(
      [wish('b/y:80'), wish('shared:9080'), wish('a/x:80')],
      nothing,
      null,
      defaultSettings.meshPorts,
      5,
    )
    expect(among.byOwner.get('a/x:80')).to.equal(alone.byOwner.get('a/x:80'))
  })

  it('gives every owner a port of its own, inside of the range, until none is left', () => {
    const owners = Array.from({ length: 12 }, (_, index) => wish(`s/${index}:1`, index))
    const { byOwner, exhausted, book } = give(owners)
    expect(new Set(byOwner.values()).size).to.equal(10)
    expect([...byOwner.values()].every((port) => port >= 100 && port <= 109)).to.equal(true)
    // The youngest go without.
    expect(exhausted).to.deep.equal(['s/10:1', 's/11:1'])
    expect(book.ports).to.have.length(10)
  })

  it('keeps what is recorded, and prefers it to what was given', () => {
    const previous = give([wish('a')]).book
    const { byOwner } = give([wish('a'), wish('b')], { previous, claims: [{ meshPort: 105, owner: 'a' }] })
    expect(byOwner.get('a')).to.equal(105)
  })

  it('keeps what was given and is not recorded yet', () => {
    const owners = Array.from({ length: 10 }, (_, index) => wish(`${index}`))
    const first = give(owners)
    const again = give(owners.toReversed(), { previous: first.book, at: 5 })
    expect([...again.byOwner].sort()).to.deep.equal([...first.byOwner].sort())
  })

  it('leaves a port that is claimed twice to the older owner', () => {
    const claims = [
      { meshPort: 103, owner: 'young' },
      { meshPort: 103, owner: 'old' },
    ]
    const { byOwner, clashes } = give([wish('young', 20), wish('old', 10)], { claims })
    expect(byOwner.get('old')).to.equal(103)
    expect(byOwner.get('young')).to.not.equal(103)
    expect(clashes).to.deep.equal([{ meshPort: 103, owner: 'young', winner: 'old' }])
  })

  it('takes no claim from outside of the range or of two ports for one owner', () => {
    const claims = [
      { meshPort: 99, owner: 'a' },
      { meshPort: 104, owner: 'b' },
      { meshPort: 102, owner: 'b' },
    ]
    const { byOwner, clashes } = give([wish('a'), wish('b')], { claims })
    expect(byOwner.get('a')).to.be.within(100, 109)
    expect(byOwner.get('b')).to.equal(102)
    expect(clashes).to.deep.equal([])
  })

  it('lets a released port rest, to the millisecond', () => {
    const ten = Array.from({ length: 10 }, (_, index) => wish(`${index}`))
    const full = give(ten)
    const freed = full.byOwner.get('0')!
    const rest = ten.slice(1)
    const released = give(rest, { previous: full.book, at: 1000 })
    expect(released.book.resting).to.deep.equal([{ meshPort: freed, owner: '0', sinceMs: 1000 }])
    const before = give([...rest, wish('new')], { previous: released.book, at: 1000 + restMs - 1 })
    expect(before.exhausted).to.deep.equal(['new'])
    const after = give([...rest, wish('new')], { previous: before.book, at: 1000 + restMs })
    expect(after.byOwner.get('new')).to.equal(freed)
    expect(after.book.resting).to.deep.equal([])
  })

  it('does not let a port rest twice because the mesh Service still records it', () => {
    const claims = [{ meshPort: 101, owner: 'shared:80' }]
    const resting = [{ meshPort: 101, owner: 'shared:80', sinceMs: 1000 }]
    const during = give([], { claims, resting, at: 999 + restMs })
    expect(during.book.resting).to.deep.equal(resting)
    const after = give([], { claims, resting, previous: during.book, at: 1000 + restMs })
    expect(after.book.resting).to.deep.equal([])
  })

  it('knows the shared ports that rest, but not one whose number is in use again', () => {
    const resting = [
      { meshPort: 101, owner: 'shared:80', sinceMs: 1 },
      { meshPort: 102, owner: 'shop/db:5432', sinceMs: 1 },
      { meshPort: 103, owner: 'shared:9080', sinceMs: 1 },
      { meshPort: 104, owner: 'shared:nonsense', sinceMs: 1 },
    ]
    const sharedPorts = [{ meshPort: 105, port: 9080 }]
    const found = restingShared({ sharedPorts, portBook: { ports: [], resting } })
    expect(found).to.deep.equal([{ meshPort: 101, port: 80 }])
  })

  it('gives a resting port back to its own owner at once', () => {
    const first = give([wish('a'), wish('b')])
    const released = give([wish('b')], { previous: first.book, at: 1 })
    const back = give([wish('a'), wish('b')], { previous: released.book, at: 2 })
    expect(back.byOwner.get('a')).to.equal(first.byOwner.get('a'))
    expect(back.book.resting).to.deep.equal([])
  })

  it('lets a recorded port rest whose owner went while no controller ran', () => {
    const { book } = give([], { claims: [{ meshPort: 101, owner: 'gone' }], at: 7 })
    expect(book.resting).to.deep.equal([{ meshPort: 101, owner: 'gone', sinceMs: 7 }])
  })

  it('claims a dedicated port until a Service shows it, and keeps what was claimed, whoever did', () => {
    const wishes = [wish('s/x:1'), wish('shared:80')]
    const first = give(wishes)
    const own = first.byOwner.get('s/x:1')!
    expect(first.book.claimed).to.deep.equal([{ meshPort: own, owner: 's/x:1' }])
    // Another controller, which has chosen for itself, reads what the first has claimed.
    const claimed = [{ meshPort: own === 109 ? 100 : own + 1, owner: 's/x:1' }]
    const second = give(wishes, { claimed, previous: first.book })
    expect(second.byOwner.get('s/x:1')).to.equal(claimed[0]!.meshPort)
    expect(second.book.claimed).to.deep.equal(claimed)
    expect(give(wishes, { claims: claimed, claimed }).book).not.to.have.property('claimed')
    // Nobody else gets it, and it rests when its owner goes.
    const others = Array.from({ length: 9 }, (_each, index) => wish(`s/${index}:1`))
    expect([...give(others, { claimed }).byOwner.values()]).not.to.include(claimed[0]!.meshPort)
    expect(give([], { claimed, at: 3 }).book.resting).to.deep.equal([{ ...claimed[0]!, sinceMs: 3 }])
  })

  it('gives no port away that a Service still has, though its rest is over', () => {
    const alone = give([wish('s/x:1')]).byOwner.get('s/x:1')!
    const claims = [{ meshPort: alone, owner: 'gone/y:1' }]
    const resting = [{ meshPort: alone, owner: 'gone/y:1', sinceMs: 0 }]
    expect(give([wish('s/x:1')], { claims, resting, at: restMs }).byOwner.get('s/x:1')).not.to.equal(alone)
    expect(give([wish('s/x:1')], { resting, at: restMs }).byOwner.get('s/x:1')).to.equal(alone)
  })

  it('reads claims, and nothing from a broken record', () => {
    const claims = [{ meshPort: 101, owner: 's/x:1' }]
    expect(readClaims({ 'weft.dev/claimed-ports': writeClaims(claims) })).to.deep.equal(claims)
    for (const text of ['', 'x', '{}', '[1,[2],["a","b"],[null,"x"]]']) {
      expect(readClaims({ 'weft.dev/claimed-ports': text })).to.deep.equal([])
    }
    expect(readClaims(undefined)).to.deep.equal([])
  })

  it('reads the record of a rest, and nothing from a broken one', () => {
    const resting = [{ meshPort: 101, owner: 'shared:80', sinceMs: 5 }]
    const mesh = (text: string) => `
{apiVersion: v1, kind: Service, metadata: {name: weft, namespace: weft-system, annotations: {weft.dev/resting-ports: '${text}'}},
 spec: {ports: [{name: entry, port: 15001, targetPort: 15001}, {name: p-80, port: 80, targetPort: 16390}, {name: p-81, port: 82, targetPort: 16391}, {name: p-83, port: 83, targetPort: http}]}}`
    const record = readRecord(worldOf(mesh(writeResting(resting))), defaultSettings)
    expect(record).to.deep.equal({ claims: [{ meshPort: 16390, owner: sharedOwner(80) }], claimed: [], resting })
    for (const text of ['', 'x', '{}', '[1,[2],["a","b","c"],[1,"x",null]]']) {
      expect(readRecord(worldOf(mesh(text)), defaultSettings).resting).to.deep.equal([])
    }
  })

  it('reads shadow Services, and no others', () => {
    const service = (name: string, namespace: string, labels: string) =>
      `{apiVersion: v1, kind: Service, metadata: {name: ${name}, namespace: ${namespace}, labels: ${labels}}, spec: {ports: [{port: 5432, targetPort: 16400}]}}`
    const ours = '{app.kubernetes.io/managed-by: weft, weft.dev/service: db, weft.dev/namespace: shop}'
    const world = worldOf(
      [service('db-1', 'weft-system', ours), service('x', 'shop', ours), service('y', 'weft-system', '{}')].join(
        '\n---\n',
      ),
    )
    expect(readRecord(world, defaultSettings).claims).to.deep.equal([
      { meshPort: 16400, owner: dedicatedOwner('shop/db', 5432) },
    ])
  })
})
