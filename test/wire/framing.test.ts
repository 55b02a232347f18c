// Framing and smuggling: what other proxies got wrong, one test each, numbered as in the project's list of hazards.
// 7.10 concerns HTTP/2 spoken per request, which the agent does not do: such ports are opaque.

import { expect } from 'chai'
import { type Bed, get, host, ok, okDown, plain, post, refusalOf, startBed, up } from '../support/rawmesh.ts'
import { until } from '../support/until.ts'

const chunkedHead = `POST / HTTP/1.1\r\nHost: ${host}\r\nTransfer-Encoding: chunked\r\n\r\n`

describe('framing on the wire', () => {
  let bed: Bed
  beforeEach(async () => {
    bed = await startBed()
  })
  afterEach(() => bed.stop())

  describe('7.1 framing headers behind very many others', () => {
    const many = (count: number) => Array.from({ length: count }, (_, index) => `A${index}: 1\r\n`).join('')

    it('refuses more than 100 headers, wherever the framing stands', async () => {
      const smuggled = `0\r\n\r\n${get('/smuggled')}`
      for (const count of [100, 1000, 1100]) {
        const request = `POST / HTTP/1.1\r\nHost: ${host}\r\n${many(count)}Transfer-Encoding: chunked\r\n\r\n${smuggled}`
        expect(refusalOf(await bed.refuse(request)), `${count}`).to.equal('431 head_too_large')
      }
    })

    it('takes 100', async () => {
      const { caller, endpoint } = await bed.begin(get('/', many(99)))
      expect(plain(await endpoint.readMessage())).to.equal(up('GET /', many(99)))
      endpoint.send(ok(''))
      await caller.readMessage()
    })

    it('refuses a head of more than 16 KiB, also one that never ends', async () => {
      expect(refusalOf(await bed.refuse(get('/', `A: ${'x'.repeat(17_000)}\r\n`)))).to.equal('431 head_too_large')
      expect(refusalOf(await bed.refuse(`GET /${'x'.repeat(17_000)}`))).to.equal('431 head_too_large')
    })

    it('refuses a response with more than 100 headers', async () => {
      const { caller, endpoint } = await bed.begin(post('x'))
      await endpoint.readMessage()
      endpoint.send(`HTTP/1.1 200 OK\r\n${many(101)}Content-Length: 2\r\n\r\nok`)
      expect(refusalOf(await caller.readMessage())).to.equal('502 upstream_invalid')
    })
  })

  describe('7.2 ambiguous framing', () => {
    const body = `0\r\n\r\n${get('/smuggled')}`
    const refused: [string, string, string?][] = [
      ['Content-Length and Transfer-Encoding', 'Content-Length: 5\r\nTransfer-Encoding: chunked\r\n'],
      ['Transfer-Encoding and Content-Length', 'Transfer-Encoding: chunked\r\nContent-Length: 5\r\n'],
      ['two Content-Length', 'Content-Length: 5\r\nContent-Length: 6\r\n'],
      ['two equal Content-Length', 'Content-Length: 5\r\nContent-Length: 5\r\n'],
      ['a list in Content-Length', 'Content-Length: 5, 5\r\n'],
      ['Content-Length: 010', 'Content-Length: 010\r\n'],
      ['Content-Length: +5', 'Content-Length: +5\r\n'],
      ['Content-Length: -5', 'Content-Length: -5\r\n'],
      ['Content-Length: 0x5', 'Content-Length: 0x5\r\n'],
      ['Content-Length: 5 5', 'Content-Length: 5 5\r\n'],
      ['an empty Content-Length', 'Content-Length:\r\n'],
      ['a Content-Length beyond 2^53', 'Content-Length: 18446744073709551621\r\n'],
      ['a no-break space behind Content-Length', 'Content-Length: 5\xa0\r\n'],
      ['Transfer-Encoding: ,chunked', 'Transfer-Encoding: ,chunked\r\n'],
      ['Transfer-Encoding: chunked,', 'Transfer-Encoding: chunked,\r\n'],
      ['Transfer-Encoding: identity', 'Transfer-Encoding: identity\r\n'],
      ['Transfer-Encoding: chunked, identity', 'Transfer-Encoding: chunked, identity\r\n'],
      ['Transfer-Encoding: chunked, chunked', 'Transfer-Encoding: chunked, chunked\r\n'],
      ['Transfer-Encoding: xchunked', 'Transfer-Encoding: xchunked\r\n'],
      ['Transfer-Encoding: chunked;q=1', 'Transfer-Encoding: chunked;q=1\r\n'],
      ['an empty Transfer-Encoding', 'Transfer-Encoding:\r\n'],
      ['two Transfer-Encoding', 'Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n'],
      ['a vertical tab before chunked', 'Transfer-Encoding: \x0bchunked\r\n'],
      ['a space before the colon', 'Transfer-Encoding : chunked\r\n'],
      ['a folded line', 'Transfer-Encoding:\r\n chunked\r\n'],
      ['a line feed alone', 'X: y\nTransfer-Encoding: chunked\r\n'],
      ['a carriage return alone', 'X: y\rTransfer-Encoding: chunked\r\n'],
      ['a NUL in a value', 'X: y\0\r\nTransfer-Encoding: chunked\r\n'],
      ['a line without a colon', 'Transfer-Encoding chunked\r\n'],
      ['a line that begins with a colon', ': chunked\r\n'],
      ['Transfer_Encoding', 'Transfer_Encoding: chunked\r\n'],
      ['Content_Length', 'Content_Length: 5\r\n'],
      ['Transfer-Encoding: gzip, chunked', 'Transfer-Encoding: gzip, chunked\r\n', '501 not_implemented'],
      ['Transfer-Encoding: gzip', 'Transfer-Encoding: gzip\r\n', '501 not_implemented'],
    ]
    for (const [name, lines, refusal] of refused) {
      it(`refuses ${name}`, async () => {
        const response = await bed.refuse(`POST / HTTP/1.1\r\nHost: ${host}\r\n${lines}\r\n${body}`)
        expect(refusalOf(response)).to.equal(refusal ?? '400 bad_request')
      })
    }

    it('refuses HTTP/1.0 with Transfer-Encoding', async () => {
      const request = `POST / HTTP/1.0\r\nHost: ${host}\r\nTransfer-Encoding: chunked\r\n\r\n${body}`
      expect(refusalOf(await bed.refuse(request))).to.equal('400 bad_request')
    })

    it('refuses the same of a response', async () => {
      const framings = [
        'Content-Length: 2\r\nTransfer-Encoding: chunked\r\n',
        'Content-Length: 2\r\nContent-Length: 3\r\n',
        'Content-Length: 02\r\n',
        'Content-Length: 2, 2\r\n',
        'Transfer-Encoding: gzip, chunked\r\n',
        'Transfer-Encoding : chunked\r\n',
        'Transfer-Encoding:\r\n chunked\r\n',
        'Connection: content-length\r\nContent-Length: 2\r\n',
      ]
      for (const framing of framings) {
        const { caller, endpoint } = await bed.begin(post('x'))
        await endpoint.readMessage()
        endpoint.send(`HTTP/1.1 200 OK\r\n${framing}\r\nok`)
        expect(refusalOf(await caller.readMessage()), framing).to.equal('502 upstream_invalid')
        await endpoint.gone()
      }
    })
  })

  it('7.3 a chunk that turns out to be malformed: the connection to the endpoint is never used again', async () => {
    for (const wrong of ['x\r\n', '3\r\nabcX', '3\nabc', '3 \r\nabc', '-1\r\n', '1000000000000000\r\n', '\r\n']) {
      const { caller, endpoint } = await bed.begin(`${chunkedHead}3\r\nabc\r\n`)
      await endpoint.readThrough('3\r\nabc\r\n')
      caller.send(wrong)
      expect(refusalOf(await caller.readMessage()), wrong).to.equal('400 bad_request')
      expect((await caller.gone()).rest).to.equal('')
      // Whatever was well-formed may have arrived, but nothing that ends the request.
      const { how, rest } = await endpoint.gone()
      expect([how, rest.includes('0\r\n')], wrong).to.deep.equal(['reset', false])
    }
    await bed.works()
  })

  it('7.3 a malformed chunk of a response: the caller sees a reset, not an end', async () => {
    const { caller, endpoint } = await bed.begin(get())
    await endpoint.readMessage()
    endpoint.send('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n')
    await caller.readThrough('abc\r\n')
    endpoint.send('zz\r\n')
    expect((await caller.gone()).how).to.equal('reset')
    await endpoint.gone()
    await bed.works()
  })

  it('7.4 an answer before the request has ended: what still comes is never taken for a request', async () => {
    const length = `POST / HTTP/1.1\r\nHost: ${host}\r\nContent-Length: 60\r\n\r\n`
    for (const head of [length, chunkedHead]) {
      const { caller, endpoint } = await bed.begin(head)
      await endpoint.readThrough('\r\n\r\n')
      endpoint.send(ok('early'))
      expect(await caller.readMessage()).to.equal(okDown('early', 'connection: close\r\n'))
      caller.send(get('/smuggled'))
      await caller.gone()
      await endpoint.gone()
      expect(bed.server.received).not.to.include('smuggled')
    }
    await bed.works()
  })

  it('7.4 a body that comes although the expectation was refused is not forwarded', async () => {
    const { caller, endpoint } = await bed.begin(
      `POST / HTTP/1.1\r\nHost: ${host}\r\nContent-Length: 60\r\nExpect: 100-continue\r\n\r\n`,
    )
    await endpoint.readThrough('\r\n\r\n')
    endpoint.send('HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n')
    expect(await caller.readMessage()).to.include('connection: close\r\n')
    caller.send(get('/smuggled'))
    await caller.gone()
    await endpoint.gone()
    expect(bed.server.received).not.to.include('smuggled')
    await bed.works()
  })

  it('7.6 CONNECT with data behind it', async () => {
    const request = `CONNECT ${host}:80 HTTP/1.1\r\nHost: ${host}:80\r\n\r\n${get('/smuggled')}`
    expect(refusalOf(await bed.refuse(request))).to.equal('405 method_refused')
  })

  it('7.7 an upgrade to h2c is not passed on', async () => {
    const lines = 'Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n'
    const { caller, endpoint } = await bed.begin(get('/', `${lines}X-A: 1\r\n`))
    expect(plain(await endpoint.readMessage())).to.equal(up('GET /', 'X-A: 1\r\n'))
    endpoint.send(ok('plain'))
    expect(await caller.readMessage()).to.equal(okDown('plain'))
  })

  it('7.7 a 101 that nobody asked for is not passed on', async () => {
    const { caller, endpoint } = await bed.begin(post('x'))
    await endpoint.readMessage()
    endpoint.send('HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\nPRI')
    expect(refusalOf(await caller.readMessage())).to.equal('502 upstream_invalid')
    await endpoint.gone()
  })

  describe('7.8 responses that belong to nobody', () => {
    it('drops a second response that comes with the first', async () => {
      const { caller, endpoint } = await bed.begin(get('/1'))
      await endpoint.readMessage()
      endpoint.send(ok('right') + ok('poison'))
      expect(await caller.readMessage()).to.equal(okDown('right'))
      await endpoint.gone()
      await bed.works()
      expect(caller.unread).to.equal('')
    })

    it('drops what comes while the connection is idle', async () => {
      const { caller, endpoint } = await bed.begin(get('/1'))
      await endpoint.readMessage()
      endpoint.send(ok('right'))
      await caller.readMessage()
      endpoint.send(ok('poison'))
      await endpoint.gone()
      await until(() => bed.agent.thread.hop.counts.open === 0, 'the end of the connection')
      await bed.works()
      expect(caller.unread).to.equal('')
    })

    it('never gives a late response to the next caller', async () => {
      const { caller, endpoint } = await bed.begin(get('/gone'))
      await endpoint.readMessage()
      caller.reset()
      await endpoint.gone()
      endpoint.send(ok('late'))
      await bed.works()
    })

    it('drops what an endpoint says before it was asked', async () => {
      bed.server.each((connection) => connection.send(ok('unasked')))
      const caller = await bed.caller()
      caller.send(post('x'))
      const endpoint = await bed.server.next()
      const response = await caller.readMessage()
      // It may have come after the request was written: then nobody can tell that it was no answer.
      if (response.startsWith('HTTP/1.1 200')) expect(response).to.equal(okDown('unasked'))
      else expect(refusalOf(response)).to.match(/^502 upstream_/)
      endpoint.destroy()
    })
  })

  it('7.9 a caller that sends requests and reads no responses is not read from for long', async () => {
    const big = 'x'.repeat(100_000)
    let answered = 0
    bed.server.each((connection) => {
      const serve = async () => {
        for (;;) {
          await connection.readMessage()
          answered++
          connection.send(ok(big))
        }
      }
      void serve().catch(() => {})
    })
    const caller = await bed.caller()
    caller.socket.pause()
    const requests = 2000
    for (let count = 0; count < requests; count++) caller.send(get(`/${count}`))
    // It stands still when two looks, with plenty of turns in between, see the same.
    let before = -1
    await until(async () => {
      const isStill = answered > 0 && answered === before
      before = answered
      await new Promise((resolve) => setTimeout(resolve, 100))
      return isStill
    }, 'that the agent stops reading')
    // What the kernel's buffers hold on both sides is some megabytes, of 200.
    expect(answered).to.be.lessThan(requests / 4)
    caller.socket.resume()
    await until(() => answered === requests, 'that all are answered once the caller reads')
  })

  it('7.9 pipelined malformed requests: the first ends the connection', async () => {
    expect(refusalOf(await bed.refuse('BAD\r\n\r\n'.repeat(10_000)))).to.equal('400 bad_request')
  })
})
