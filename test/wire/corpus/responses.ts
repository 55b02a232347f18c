// Responses on which parsers have disagreed: the classes of llhttp's own test suite and of the HTTP Garden, in our own
// words. Each is followed by the end of the endpoint's connection.

export interface ResponseCase {
  readonly name: string
  readonly stream: string
  /** Content that the caller gets; null: it gets none, but a refusal or a reset. */
  readonly content: string | null
}

const ok = (lines: string, content = ''): string => `HTTP/1.1 200 OK\r\n${lines}\r\n${content}`
const length = (value: string, content = '0123456789'): string => ok(`Content-Length:${value}\r\n`, content)
const chunks = (content: string): string => ok('Transfer-Encoding: chunked\r\n', content)
const first = (status: string): string => `${status}\r\nContent-Length: 2\r\n\r\nok`

const accepted: [name: string, stream: string, content: string][] = [
  ['a body by its length', length(' 10'), '0123456789'],
  ['a body of no length', length(' 0', ''), ''],
  ['a body by the end of the connection', ok('', 'hello\r\n\r\nworld'), 'hello\r\n\r\nworld'],
  ['no body but the end of the connection', ok(''), ''],
  ['chunks', chunks('5\r\n01234\r\n5;x=y\r\n56789\r\n0\r\n\r\n'), '0123456789'],
  ['chunks with trailers', chunks('1\r\nx\r\n0\r\nX-Sum: 1\r\n\r\n'), 'x'],
  ['no reason phrase', first('HTTP/1.1 200 '), 'ok'],
  ['no space behind the status', first('HTTP/1.1 200'), 'ok'],
  ['a reason phrase with odd characters', first('HTTP/1.1 200 It\'s "fine"; ok?'), 'ok'],
  ['a reason phrase beyond ASCII', first('HTTP/1.1 200 \xc3\x96K'), 'ok'],
  ['two spaces before the reason phrase', first('HTTP/1.1 200  OK'), 'ok'],
  ['HTTP/1.0 by its length', first('HTTP/1.0 200 OK'), 'ok'],
  ['HTTP/1.0 by the end of the connection', 'HTTP/1.0 200 OK\r\n\r\nold', 'old'],
  ['a status that nobody knows', first('HTTP/1.1 599 Custom'), 'ok'],
  ['204', 'HTTP/1.1 204 No Content\r\n\r\n', ''],
  ['304 with a length', 'HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\n\r\n', ''],
  [
    'informational responses before',
    `HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n${length(' 10')}`,
    '0123456789',
  ],
  ['a field with bytes beyond ASCII', ok('X: \xff\r\nContent-Length: 0\r\n'), ''],
  ['more than its length: the rest is nobody’s', length(' 5'), '01234'],
  ['a second response behind it', length(' 2', 'okHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison'), 'ok'],
  ['bytes behind the last chunk', chunks('2\r\nok\r\n0\r\n\r\npoison'), 'ok'],
  ['a body on 204 is nobody’s', 'HTTP/1.1 204 No Content\r\nContent-Length: 6\r\n\r\npoison', ''],
]

const refused: [name: string, stream: string][] = [
  ['nothing at all', ''],
  ['HTP for HTTP', first('HTP/1.1 200 OK')],
  ['a lower-case version', first('http/1.1 200 OK')],
  ['version 01.1', first('HTTP/01.1 200 OK')],
  ['version 11.1', first('HTTP/11.1 200 OK')],
  ['version 1.01', first('HTTP/1.01 200 OK')],
  ['version 5.6', first('HTTP/5.6 200 OK')],
  ['version 2', first('HTTP/2 200 OK')],
  ['ICY', first('ICY 200 OK')],
  ['a tab behind the version', first('HTTP/1.1\t200 OK')],
  ['two spaces behind the version', first('HTTP/1.1  200 OK')],
  ['a status of one digit', first('HTTP/1.1 2 OK')],
  ['a status of two digits', first('HTTP/1.1 20 OK')],
  ['a status of four digits', first('HTTP/1.1 2000 OK')],
  ['status 000', first('HTTP/1.1 000 OK')],
  ['status 099', first('HTTP/1.1 099 OK')],
  ['a status with a sign', first('HTTP/1.1 +20 OK')],
  ['a reason phrase without a space', first('HTTP/1.1 200OK')],
  ['a reason phrase with a control character', first('HTTP/1.1 200 O\x01K')],
  ['a reason phrase with a NUL', first('HTTP/1.1 200 O\0K')],
  ['a carriage return before the status line', `\r${first('HTTP/1.1 200 OK')}`],
  ['an empty line before the status line', `\r\n${first('HTTP/1.1 200 OK')}`],
  ['a line feed behind the status line', 'HTTP/1.1 200 OK\nContent-Length: 2\r\n\r\nok'],
  ['line feeds alone', 'HTTP/1.1 200 OK\nContent-Length: 2\n\nok'],
  ['a carriage return between fields', ok('Foo: 1\rBar: 2\r\nContent-Length: 0\r\n')],
  ['a line feed between fields', ok('Foo: 1\nBar: 2\r\nContent-Length: 0\r\n')],
  ['a space before the first field', ok(' Content-Length: 0\r\n')],
  ['a folded value', ok('X: y\r\n z\r\nContent-Length: 0\r\n')],
  ['a space before the colon', ok('Content-Length : 2\r\n', 'ok')],
  ['an empty name', ok(': x\r\nContent-Length: 2\r\n', 'ok')],
  ['a line without a colon', ok('BLAH\r\nContent-Length: 2\r\n', 'ok')],
  ['a NUL in a value', ok('X: \0\r\nContent-Length: 2\r\n', 'ok')],
  ['a head without end', 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n'],
  ['a head of more than 16 KiB', ok(`X: ${'x'.repeat(17_000)}\r\nContent-Length: 2\r\n`, 'ok')],
  ['an empty Content-Length', length('')],
  ['Content-Length +10', length(' +10')],
  ['Content-Length -1', length(' -1')],
  ['Content-Length 010', length(' 010')],
  ['Content-Length 10, 10', length(' 10, 10')],
  ['Content-Length 1 0', length(' 1 0')],
  ['Content-Length beyond 64 bits', length(' 18446744073709551626')],
  ['two Content-Length', ok('Content-Length: 10\r\nContent-Length: 10\r\n', '0123456789')],
  ['less than its length', length(' 10', '01234')],
  ['both framings', ok('Content-Length: 2\r\nTransfer-Encoding: chunked\r\n', '2\r\nok\r\n0\r\n\r\n')],
  ['Transfer-Encoding: gzip', ok('Transfer-Encoding: gzip\r\n', 'x')],
  ['Transfer-Encoding: gzip, chunked', ok('Transfer-Encoding: gzip, chunked\r\n', '0\r\n\r\n')],
  ['Transfer-Encoding: chunked, identity', ok('Transfer-Encoding: chunked, identity\r\n', '0\r\n\r\n')],
  ['Transfer-Encoding: identity', ok('Transfer-Encoding: identity\r\n', 'ok')],
  ['an empty Transfer-Encoding', ok('Transfer-Encoding:\r\n', 'ok')],
  ['two Transfer-Encodings', ok('Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n', '0\r\n\r\n')],
  ['chunks with HTTP/1.0', 'HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n'],
  ['chunks without the last', chunks('2\r\nok\r\n')],
  ['chunks without the end of the trailers', chunks('2\r\nok\r\n0\r\n')],
  ['a chunk that is cut short', chunks('5\r\nok')],
  ['a chunk with a malformed size', chunks('0x2\r\nok\r\n0\r\n\r\n')],
  ['a chunk that is longer than its size', chunks('1\r\nok\r\n0\r\n\r\n')],
  ['a chunk with a line feed', chunks('2\nok\r\n0\r\n\r\n')],
  ['a trailer that frames', chunks('2\r\nok\r\n0\r\nContent-Length: 5\r\n\r\n')],
  ['a switch of protocols that nobody asked for', 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\nbytes'],
  ['informational responses alone', 'HTTP/1.1 100 Continue\r\n\r\n'],
  ['Connection that takes the length away', ok('Connection: content-length\r\nContent-Length: 2\r\n', 'ok')],
]

export const responseCases: readonly ResponseCase[] = [
  ...accepted.map(([name, stream, content]) => ({ name, stream, content })),
  ...refused.map(([name, stream]) => ({ name, stream, content: null })),
]
