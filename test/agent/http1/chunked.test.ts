// The chunked decoder: whatever the pieces it gets, it hands on the same well-formed body, or stops at the flaw.

import { expect } from 'chai'
import { Body } from '../../../agent/http1/body.ts'

interface Outcome {
  out: string
  flaw: string
  isDone: boolean
  rest: string
  content: number
}

/** Feeds a text in pieces of some size. */
function feed(text: string, piece: number, isBare = false): Outcome {
  const body = new Body()
  body.start('chunked', 0, isBare)
  let out = ''
  const sink = {
    onBody: (chunk: Buffer, start: number, end: number) => {
      out += chunk.toString('latin1', start, end)
    },
    onBodyText: (more: string) => {
      out += more
    },
  }
  const bytes = Buffer.from(text, 'latin1')
  let at = 0
  while (at < bytes.length && !body.isDone && body.flaw === '') {
    const read = Buffer.from(bytes.subarray(at, at + piece))
    at += body.feed(read, 0, read.length, sink)
  }
  return { out, flaw: body.flaw, isDone: body.isDone, rest: text.slice(at), content: body.contentBytes }
}

const sizes = [1, 2, 3, 5, 7, 1000]

describe('http1/chunked', () => {
  it('hands on a plain body as it came', () => {
    const text = '5\r\nhello\r\nA\r\n0123456789\r\n0\r\n\r\n'
    for (const size of sizes) {
      const { out, isDone, rest, content } = feed(`${text}GET`, size)
      expect({ out: out.toLowerCase(), isDone, content }).to.eql({ out: text.toLowerCase(), isDone: true, content: 15 })
      expect('GET'.startsWith(rest) || rest === 'GET').to.equal(true)
    }
  })

  it('cuts extensions', () => {
    for (const size of sizes) {
      expect(feed('5;a=b;c="d"\r\nhello\r\n0;x\r\n\r\n', size).out).to.equal('5\r\nhello\r\n0\r\n\r\n')
    }
  })

  it('gives the bare content where it is asked to', () => {
    for (const size of sizes)
      expect(feed('5;a\r\nhello\r\n1\r\n!\r\n0\r\nA: b\r\n\r\n', size, true).out).to.equal('hello!')
  })

  it('hands on trailers, checked', () => {
    const text = '1\r\nx\r\n0\r\nExpires: never\r\nX-Sum: 1\r\n\r\n'
    for (const size of sizes) expect(feed(text, size)).to.include({ out: text, isDone: true })
    for (const line of ['Content-Length: 5', 'transfer-encoding: x', 'Host: b', 'X : 1', ' x', 'X: a\x00', 'a\nb: c']) {
      for (const size of sizes) {
        const { flaw, isDone } = feed(`0\r\n${line}\r\n\r\n`, size)
        expect(isDone, line).to.equal(false)
        expect(flaw, line).not.to.equal('')
      }
    }
  })

  it('stops at every flaw, and hands on nothing behind it', () => {
    const flaws = ['g', ' 5', '5 ', '5\n', '\r\n', ';a', '0x5', '-5', '5\rx', '5;a\nb', '1234567890abc', '5;\x00']
    for (const line of flaws) {
      for (const size of sizes) {
        const { out, flaw, isDone } = feed(`3\r\nabc\r\n${line}\r\nhello\r\n0\r\n\r\n`, size)
        expect(isDone, JSON.stringify(line)).to.equal(false)
        expect(flaw, JSON.stringify(line)).not.to.equal('')
        expect(out, JSON.stringify(line)).to.equal('3\r\nabc\r\n')
      }
    }
  })

  it('refuses a chunk that is longer or shorter than its size', () => {
    for (const size of sizes) {
      expect(feed('3\r\nabcd\r\n0\r\n\r\n', size).flaw).not.to.equal('')
      expect(feed('3\r\nab\r\n0\r\n\r\n', size).isDone).to.equal(false)
      expect(feed('3\r\nabc\n0\r\n\r\n', size).flaw).not.to.equal('')
    }
  })

  it('bounds extensions and trailers', () => {
    expect(feed(`5;${'a'.repeat(2000)}\r\n`, 100).flaw).not.to.equal('')
    expect(feed(`0\r\n${'A: b\r\n'.repeat(5000)}`, 1000).flaw).not.to.equal('')
  })
})
