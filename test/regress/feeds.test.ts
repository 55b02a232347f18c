// A head whose lines end with LF alone never became complete: its sender learned of it only when the time for a head
// was over.

import { expect } from 'chai'
import { type Bed, refusalOf, startBed } from '../support/rawmesh.ts'

describe('regress: lines that end with LF alone', () => {
  let bed: Bed
  beforeEach(async () => {
    bed = await startBed()
  })
  afterEach(() => bed.stop())

  for (const [what, pieces] of [
    ['all', ['GET / HTTP/1.1\nHost: a\n\n']],
    ['the last', ['GET / HTTP/1.1\r\nHost: a\r\n\n']],
    ['one that comes in pieces', ['GET / HTTP/1.1\r', '\nHost: a', '\n']],
  ] as const) {
    it(`are refused at once: ${what}`, async () => {
      const caller = await bed.caller()
      for (const piece of pieces) {
        caller.send(piece)
        await new Promise(setImmediate)
      }
      expect(refusalOf(await caller.readMessage())).to.equal('400 bad_request')
    })
  }
})
