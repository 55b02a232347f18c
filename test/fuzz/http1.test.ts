// Differential fuzzing of the HTTP/1.1 engine, bounded: FUZZ_SECONDS (6) from FUZZ_SEED (1). `npm run fuzz` goes on for
// as long as one lets it.

import { expect } from 'chai'
import { compare } from '../../scripts/fuzz/compare.ts'
import { Dice } from '../../scripts/fuzz/dice.ts'
import { readRequests, readResponses } from '../../scripts/fuzz/engine.ts'
import { fuzz } from '../../scripts/fuzz/fuzz.ts'
import { readByOracle } from '../../scripts/fuzz/oracle.ts'

const seconds = Number(process.env['FUZZ_SECONDS'] ?? 6)
const seed = Number(process.env['FUZZ_SEED'] ?? 1)

const host = 'Host: a-mesh.shop\r\n'

describe('the HTTP/1.1 engine beside llhttp', () => {
  it(`frames no stream differently (${seconds} s from seed ${seed})`, function () {
    this.timeout(seconds * 1000 + 20_000)
    const { streams, finding } = fuzz(seed, seconds)
    expect(finding).to.equal(null)
    expect(streams).to.be.greaterThan(seconds * 100)
  })

  it('reads where each message ends, as does the oracle', () => {
    const first = `POST / HTTP/1.1\r\n${host}Content-Length: 3\r\n\r\nabc`
    const stream = Buffer.from(`${first}GET /x HTTP/1.1\r\n${host}\r\n`)
    const expected = [
      ['POST /', first.length, 'abc'],
      ['GET /x', stream.length, ''],
    ]
    for (const reading of [readRequests(stream, () => 1), readByOracle(stream, null)]) {
      expect(reading.messages.map(({ first, end, content }) => [first, end, content])).to.deep.equal(expected)
    }
  })

  it('accepts the plain messages that the grammar makes', () => {
    const chunked = `POST / HTTP/1.1\r\n${host}Transfer-Encoding: chunked\r\n\r\n3;a="b c"\r\nabc\r\n0\r\nX-T: 1\r\n\r\n`
    const reading = readRequests(Buffer.from(chunked), () => 7)
    expect(reading.error).to.equal('')
    expect(reading.messages[0]?.content).to.equal('abc')
    const response = readResponses(Buffer.from('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'), 'GET', () => 5)
    expect(response.messages[0]?.content).to.equal('ok')
  })
})

describe('what fuzzing has found', () => {
  const same = (name: string, stream: string, method: string | null = null) =>
    it(name, () => expect(compare(stream, method, new Dice(1))).to.equal(null))
  const refused = (name: string, stream: string) =>
    it(name, () => expect(readRequests(Buffer.from(stream, 'latin1'), () => 64).error).to.equal('bad_request'))
  const chunks = `POST / HTTP/1.1\r\n${host}Transfer-Encoding: chunked\r\n\r\n`

  same('an empty line before a request, in two pieces', `\r\nGET / HTTP/1.1\r\n${host}\r\n`)
  same('an empty line behind the last request', `GET / HTTP/1.1\r\n${host}\r\n\r\n`)
  refused('a carriage return behind the version', `GET / HTTP/1.1\r\r\n${host}\r\n`)
  refused('a tab behind the transfer coding', `POST / HTTP/1.1\r\n${host}Transfer-Encoding: chunked\t\r\n\r\n0\r\n\r\n`)
  refused('two empty lines before a request', `\r\n\r\nGET / HTTP/1.1\r\n${host}\r\n`)
  refused('a chunk extension without a name', `${chunks}0;\r\n\r\n`)
  refused('a chunk extension with white space', `${chunks}3; a\r\nabc\r\n0\r\n\r\n`)
  refused('a chunk extension with an open quote', `${chunks}3;a="\r\nabc\r\n0\r\n\r\n`)
  it('a response with a tab behind its transfer coding', () => {
    const stream = Buffer.from('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\t\r\n\r\n0\r\n\r\n')
    expect(readResponses(stream, 'GET', () => 64).error).to.equal('upstream_invalid')
  })
  it('an interim response with a transfer coding', () => {
    const stream = Buffer.from('HTTP/1.1 104 \r\nTransfer-Encoding: chunked\r\n\r\n')
    expect(readResponses(stream, 'GET', () => 64).error).to.equal('upstream_invalid')
  })
  it('an interim response of HTTP/1.0', () => {
    const stream = Buffer.from('HTTP/1.0 100 \r\n\r\nHTTP/1.1 204 \r\n\r\n')
    expect(readResponses(stream, 'GET', () => 64).error).to.equal('upstream_invalid')
  })
  it('a response whose Connection takes Content-Length away', () => {
    const stream = Buffer.from('HTTP/1.1 200 OK\r\nConnection: content-length\r\nContent-Length: 2\r\n\r\nok')
    expect(readResponses(stream, 'GET', () => 64).error).to.equal('upstream_invalid')
  })
  it('a request by the method that opens HTTP/2', () => {
    expect(readRequests(Buffer.from(`PRI / HTTP/1.1\r\n${host}\r\n`), () => 64).error).to.equal('method_refused')
  })
})
