// What the controller hears of callers: once, now and then again, and never without bound.

import { expect } from 'chai'
import type { FromThread } from '../../../agent/mesh/thread.ts'
import { NoticeBoard, NoticePoster } from '../../../agent/observe/notices.ts'
import type { CallerNotice } from '../../../controller/contract/messages.ts'
import { FakeClock } from '../../support/clock.ts'

const notice = (port: number): CallerNotice => ({
  ...{ kind: 'tls-on-http', pod: 'shop/client-1', podUid: 'uid-1', service: '' },
  port,
})

describe('agent/observe/notices', () => {
  let clock: FakeClock
  beforeEach(() => {
    clock = new FakeClock()
  })

  it('posts what goes on every ten minutes', () => {
    const posted: FromThread[] = []
    const poster = new NoticePoster((message) => posted.push(message), clock)
    for (let i = 0; i < 100; i++) poster.tell(notice(80))
    expect(posted).to.deep.equal([{ type: 'noticed', notice: notice(80) }])
    clock.tick(600_000)
    poster.tell(notice(80))
    expect(posted).to.have.length(2)
  })

  it('posts sixteen things at most, and others when these are over', () => {
    const posted: FromThread[] = []
    const poster = new NoticePoster((message) => posted.push(message), clock)
    for (let port = 1; port < 1_000; port++) poster.tell(notice(port))
    expect(posted).to.have.length(16)
    clock.tick(600_000)
    poster.tell(notice(999))
    expect(posted).to.have.length(17)
  })

  it('reports sixteen things at most, as long as they go on', () => {
    const board = new NoticeBoard(clock)
    expect(board.add(notice(1))).to.equal(true)
    expect(board.add(notice(1))).to.equal(false)
    for (let port = 2; port < 100; port++) board.add(notice(port))
    expect(board.current()).to.have.length(16)
    expect(board.add(notice(99))).to.equal(false)
    clock.tick(1_200_000)
    board.add(notice(1))
    clock.tick(1_200_000)
    expect(board.current()).to.deep.equal([notice(1)])
    expect(board.add(notice(99))).to.equal(true)
  })
})
