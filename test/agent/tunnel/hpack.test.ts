// Header compression against the examples of RFC 7541 appendix C, and against bytes that must be refused.

import { expect } from 'chai'
import { H2Error } from '../../../agent/tunnel/frame.ts'
import { encodeHeaders, type Header, HeaderDecoder } from '../../../agent/tunnel/hpack.ts'

const hex = (text: string) => Buffer.from(text.replaceAll(' ', ''), 'hex')

describe('tunnel: header compression', () => {
  it('decodes the requests of appendix C.3 and C.4, with and without Huffman', () => {
    const expected: Header[][] = [
      [
        [':method', 'GET'],
        [':scheme', 'http'],
        [':path', '/'],
        [':authority', 'www.example.com'],
      ],
      [
        [':method', 'GET'],
        [':scheme', 'http'],
        [':path', '/'],
        [':authority', 'www.example.com'],
        ['cache-control', 'no-cache'],
      ],
      [
        [':method', 'GET'],
        [':scheme', 'https'],
        [':path', '/index.html'],
        [':authority', 'www.example.com'],
        ['custom-key', 'custom-value'],
      ],
    ]
    for (const blocks of [
      [
        '828684410f7777772e6578616d706c652e636f6d',
        '828684be58086e6f2d6361636865',
        '828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565',
      ],
      [
        '828684418cf1e3c2e5f23a6ba0ab90f4ff',
        '828684be5886a8eb10649cbf',
        '828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf',
      ],
    ]) {
      const decoder = new HeaderDecoder()
      for (const [index, block] of blocks.entries()) expect(decoder.decode(hex(block))).to.deep.equal(expected[index])
    }
  })

  it('forgets entries as its table grows too large (appendix C.5, with the table of 4096 bytes)', () => {
    const decoder = new HeaderDecoder()
    for (let count = 0; count < 200; count++) {
      const value = `${count}`.padStart(100, '.')
      const block = Buffer.concat([hex('40 01 78 64'), Buffer.from(value)])
      expect(decoder.decode(block)).to.deep.equal([['x', value]])
    }
    // 4096 / (1 + 100 + 32) = 30 entries are left: 62 to 91.
    expect(decoder.decode(hex('be'))[0]![1]).to.match(/\.199$/)
    expect(decoder.decode(hex('db'))[0]![1]).to.match(/\.170$/)
    expect(() => decoder.decode(hex('dc'))).to.throw(H2Error, /no header has the index 92/)
  })

  it('empties its table when told to', () => {
    const decoder = new HeaderDecoder()
    decoder.decode(hex('4001780179'))
    expect(decoder.decode(hex('be'))).to.deep.equal([['x', 'y']])
    expect(() => decoder.decode(hex('20be'))).to.throw(H2Error)
  })

  it('refuses what is malformed', () => {
    for (const [what, block] of [
      ['index 0', '80'],
      ['an index beyond the table', 'be'],
      ['a truncated integer', 'ff'],
      ['an integer without end', 'ffffffffffffffff01'],
      ['a truncated string', '000578'],
      ['a length that is missing', '0001'],
      ['a table beyond the setting', '3fe2ff01'],
      ['a table size amid headers', '8220'],
      ['Huffman padding with zeros', '0001788100'],
      ['Huffman padding of a byte', '00017881ff'],
      ['the end symbol in a string', '00017884ffffffff'],
    ] as const) {
      expect(() => new HeaderDecoder().decode(hex(block)), what).to.throw(H2Error)
    }
  })

  it('refuses a list that is small on the wire alone', () => {
    const decoder = new HeaderDecoder()
    decoder.decode(Buffer.concat([hex('4001787fa11e'), Buffer.alloc(4_000, 'y')]))
    expect(() => decoder.decode(Buffer.alloc(100, 0xbe))).to.throw(H2Error, /too long/)
  })

  it('writes what it reads', () => {
    const headers: Header[] = [
      [':method', 'CONNECT'],
      [':authority', '[2001:db8::1]:65535'],
      [':status', '200'],
      [':status', '503'],
      ['x-weft-error', 'no_endpoint'],
      ['x-long', 'z'.repeat(300)],
      ['x-latin1', '\xe9\xff'],
    ]
    expect(new HeaderDecoder().decode(encodeHeaders(headers))).to.deep.equal(headers)
  })
})
