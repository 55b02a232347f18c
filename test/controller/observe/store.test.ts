// What counts as news, and how a watch's lines are put together.

import { expect } from 'chai'
import { readLines } from '../../../controller/observe/lines.ts'
import type { KubeObject } from '../../../controller/observe/objects.ts'
import { hasSameContent, openStore } from '../../../controller/observe/store.ts'

function object(name: string, version: number, uid = name, more: object = {}): KubeObject {
  return {
    apiVersion: 'v1',
    kind: 'Thing',
    metadata: { name, namespace: 'n', uid, resourceVersion: String(version), ...more },
  }
}

describe('store', () => {
  it('takes another version, or another object of the same name, for news', () => {
    const store = openStore()
    expect(store.set(object('a', 1))).to.equal(true)
    expect(store.set(object('a', 1))).to.equal(false)
    expect(store.set(object('a', 2))).to.equal(true)
    expect(store.set(object('a', 2, 'reborn'))).to.equal(true)
  })

  it('replaces everything at once and says whether that was news', () => {
    const store = openStore()
    store.set(object('a', 1))
    store.set(object('b', 1))
    expect(store.replace([object('b', 1), object('a', 1)])).to.equal(false)
    expect(store.replace([object('b', 1)])).to.equal(true)
    expect(store.replace([object('b', 1), object('c', 1)])).to.equal(true)
    expect([...store.view().keys()]).to.deep.equal(['n/b', 'n/c'])
  })

  it('leaves views alone', () => {
    const store = openStore()
    store.set(object('a', 1))
    const view = store.view()
    store.set(object('b', 1))
    store.remove(object('a', 1))
    expect([...view.keys()]).to.deep.equal(['n/a'])
    expect(store.view()).to.equal(store.view())
  })

  it('overlooks new versions with the same content where it is told to', () => {
    const store = openStore(hasSameContent)
    store.set(object('a', 1))
    expect(store.set(object('a', 2))).to.equal(false)
    expect(store.set(object('a', 3, 'a', { labels: { x: 'y' } }))).to.equal(true)
  })

  it('knows cluster-scoped objects by their name', () => {
    const store = openStore()
    store.set({ apiVersion: 'v1', kind: 'Node', metadata: { name: 'node1', uid: 'u', resourceVersion: '1' } })
    expect([...store.view().keys()]).to.deep.equal(['node1'])
  })
})

describe('lines', () => {
  async function lines(...chunks: string[]): Promise<string[]> {
    async function* source() {
      for (const chunk of chunks) yield Buffer.from(chunk, 'latin1')
    }
    return Array.fromAsync(readLines(source()))
  }

  it('puts lines together wherever they are cut', async () => {
    const text = '{"a":1}\n\n{"b":"é€"}\nunfinished'
    const bytes = Buffer.from(text).toString('latin1')
    for (let cut = 0; cut <= bytes.length; cut++) {
      expect(await lines(bytes.slice(0, cut), bytes.slice(cut))).to.deep.equal(['{"a":1}', '{"b":"é€"}'])
    }
    expect(await lines(...bytes)).to.deep.equal(['{"a":1}', '{"b":"é€"}'])
  })

  it('refuses a line that does not end', async () => {
    const chunk = 'x'.repeat(1 << 20)
    let error: unknown = null
    await lines(...Array.from({ length: 17 }, () => chunk)).catch((thrown) => {
      error = thrown
    })
    expect(String(error)).to.contain('exceeds')
  })
})
