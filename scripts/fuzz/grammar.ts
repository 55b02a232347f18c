// Messages made by the grammar of HTTP/1.1, with an oddity here and there: where parsers have disagreed before. Latin1
// text, one character a byte.

import type { Dice } from './dice.ts'

const methods = ['GET', 'POST', 'PUT', 'HEAD', 'OPTIONS', 'DELETE', 'PATCH']
const oddMethods = ['get', 'CONNECT', 'TRACE', 'PRI', 'M-SEARCH', 'GE T', 'GET\t', 'G\0ET', 'SOURCE', '']
const targets = ['/', '/a', '/a/b?c=d', '/%41', '/a?x=%2F', '/x;y=1']
const oddTargets = [
  ...[
    '*',
    'http://a-mesh.shop/',
    'http://b/',
    'HTTP://a-mesh.shop/x',
    'http://a-mesh.shop',
    '//x',
    '/../a',
    '/a#b',
    '/%2e%2e/a',
  ],
  ...[
    '/%00',
    '/\\',
    '/a b',
    '/\x80',
    '/\x01',
    'a',
    '',
    '/%',
    '/%zz',
    'https://a/',
    'http:///x',
    'http://u@a-mesh.shop/',
    '/?\x7f',
  ],
]
const versions = ['HTTP/1.1']
const oddVersions = [
  ...['HTTP/1.0', 'HTTP/1.2', 'HTTP/2.0', 'HTTP/0.9', 'http/1.1', 'HTTP/1.1 ', 'HTTP/1.10', 'HTTP/11', 'HTTP/1,1', ''],
  ...['HTTP/ 1.1', 'HTTP/01.1', 'HTTP/1.1\t', 'HTTP/1', 'RTSP/1.0', 'ICE/1.0'],
]
const ends = ['\r\n']
const oddEnds = ['\n', '\r', '\r\r\n', '\n\r', ' \r\n', '\r\n ', '\r\n\t', '\0\r\n', '']
const hosts = ['a-mesh.shop', 'a-mesh.shop:80', 'A-Mesh.Shop.']
const oddHosts = ['b', '', 'a b', 'a@b', 'a,b', 'a/b', '[::1]', 'a:99999', 'a\x80', 'a-mesh.shop, a-mesh.shop']
const lengths = ['0', '1', '3', '5', '10']
const oddLengths = [
  ...[
    '+5',
    '-1',
    '05',
    '010',
    '5 ',
    ' 5',
    '5,5',
    '5, 5',
    '5,6',
    '0x5',
    '5e0',
    '5.0',
    '',
    '\t5',
    '5\x0b',
    '5\xa0',
    '9007199254740993',
  ],
  ...['18446744073709551615', '18446744073709551616', '99999999999999999999999', '5;', '"5"', '5\x00', '1_0', '٣'],
]
const codings = ['chunked', 'Chunked']
const oddCodings = [
  ...[
    'identity',
    'gzip',
    'gzip, chunked',
    'chunked, gzip',
    'chunked, chunked',
    ',chunked',
    'chunked,',
    ', chunked',
    'chunked;x=1',
  ],
  ...[
    'chunked\x0b',
    '\x0bchunked',
    'x',
    '',
    'chunked\x00',
    'chunked chunked',
    '"chunked"',
    'chunke',
    'xchunked',
    '\xa0chunked',
    'chun ked',
  ],
]
const connections = ['close', 'keep-alive', 'Keep-Alive']
const oddConnections = [
  'upgrade',
  'close, keep-alive',
  'x-y',
  'content-length',
  'transfer-encoding',
  'host',
  ',',
  'close,,',
  '',
  'te',
  'date',
]
const separators = [': ', ':']
const oddSeparators = [' : ', ' :', ':\t', '\t: ', '::', ': \t ', '', ' ', '=', ':\r\n ', ':\x0b']
const plainNames = ['X-A', 'Accept', 'User-Agent', 'Cookie', 'X-Forwarded-For', 'Via']
const oddNames = [
  'X A',
  '',
  'X\x00',
  'X\x80',
  'X(',
  'Content_Length',
  'Transfer_Encoding',
  'Content-Length ',
  ' Content-Length',
  'X-\t',
  '\x7f',
  '{}',
]
const plainValues = ['1', 'abc', 'a, b', '"quoted"', 'text/plain; charset=utf-8', '']
const oddValues = [
  '\x00',
  'a\x01b',
  'a\x7fb',
  'a\x80b',
  'a\x0bb',
  'a\rb',
  'a\nb',
  'a\r\nb',
  '\x1b[31m',
  'x'.repeat(300),
  'a\r\n b',
]
const statuses = ['200 OK', '200', '404 Not Found', '204 No Content', '304 Not Modified', '500 ']
const oddStatuses = [
  '099 X',
  '1000 X',
  '20 X',
  '200\tOK',
  '200  OK',
  '-200 OK',
  '2x0 OK',
  '',
  '600 X',
  '101 Switching',
  '200 O\x00K',
  '200 \x80',
  '205 Reset',
]

interface Recipe {
  /** Chance of an oddity at each place. */
  readonly strangeness: number
  readonly dice: Dice
}

function line(recipe: Recipe, text: string): string {
  return text + recipe.dice.odd(ends, oddEnds, recipe.strangeness / 4)
}

function field(recipe: Recipe, name: string, value: string): string {
  const { dice, strangeness } = recipe
  const cased = dice.chance(0.2) ? name.toLowerCase() : dice.chance(0.1) ? name.toUpperCase() : name
  return line(recipe, cased + dice.odd(separators, oddSeparators, strangeness / 4) + value)
}

function content(dice: Dice, length: number): string {
  // What a body holds may look like a request: whoever frames it wrongly will read it as one.
  const text = dice.chance(0.3)
    ? 'GET /smuggled HTTP/1.1\r\nHost: a-mesh.shop\r\n\r\n'
    : 'abcdefghijklmnopqrstuvwxyz0123456789'
  return text.repeat(Math.ceil(length / text.length)).slice(0, length)
}

function chunk(recipe: Recipe, length: number): string {
  const { dice, strangeness } = recipe
  const hex = length.toString(16)
  const size = dice.odd(
    [hex, hex.toUpperCase(), `0${hex}`, `00000${hex}`],
    [
      `${hex} `,
      ` ${hex}`,
      `0x${hex}`,
      `-${hex}`,
      `+${hex}`,
      `${hex}g`,
      '',
      'ffffffffffffffff',
      `${hex}_`,
      `\t${hex}`,
      `0000000000000000000${hex}`,
    ],
    strangeness / 3,
  )
  const extension = dice.odd(
    ['', '', '', ';a', ';a=b', ';a="b c"', '; a=b'],
    [
      ';',
      ';;',
      ' ;a',
      ';a=',
      ';a="',
      ';a\x00',
      ';a\n',
      ';a\r',
      ';\x80',
      ';a="\r\n"',
      ';a b',
      `;${'x'.repeat(2000)}`,
      ',a',
    ],
    strangeness / 3,
  )
  return line(recipe, size + extension) + (length > 0 ? line(recipe, content(dice, length)) : '')
}

function chunked(recipe: Recipe): string {
  const { dice } = recipe
  let body = ''
  for (let left = dice.below(4); left > 0; left--) body += chunk(recipe, 1 + dice.below(20))
  body += chunk(recipe, 0)
  if (dice.chance(0.2)) {
    const name = dice.odd(
      ['X-Trailer', 'Checksum'],
      ['Content-Length', 'Transfer-Encoding', 'Host', ...oddNames],
      recipe.strangeness,
    )
    body += field(recipe, name, dice.odd(plainValues, oddValues, recipe.strangeness))
  }
  return body + line(recipe, '')
}

/** Header lines that frame a body, in any and every way, and the body that the sender has in mind. */
function framing(recipe: Recipe): { fields: string[]; body: string } {
  const { dice, strangeness } = recipe
  const fields: string[] = []
  let body = ''
  const length = dice.pick(lengths)
  if (dice.chance(0.35)) {
    fields.push(field(recipe, 'Content-Length', dice.odd([length], oddLengths, strangeness)))
    body = content(dice, Number(length))
    if (dice.chance(strangeness / 3)) fields.push(field(recipe, 'Content-Length', dice.pick([length, '0', '7'])))
  }
  if (dice.chance(body === '' ? 0.45 : strangeness / 2)) {
    fields.push(field(recipe, 'Transfer-Encoding', dice.odd(codings, oddCodings, strangeness)))
    body = chunked(recipe)
    if (dice.chance(strangeness / 3))
      fields.push(field(recipe, 'Transfer-Encoding', dice.pick(['chunked', 'identity', 'x'])))
  }
  return { fields, body }
}

function otherFields(recipe: Recipe): string[] {
  const { dice, strangeness } = recipe
  const fields: string[] = []
  if (dice.chance(0.3)) fields.push(field(recipe, 'Connection', dice.odd(connections, oddConnections, strangeness)))
  if (dice.chance(strangeness / 3)) fields.push(field(recipe, 'Upgrade', dice.pick(['websocket', 'h2c', 'x'])))
  if (dice.chance(strangeness / 3))
    fields.push(field(recipe, 'Expect', dice.pick(['100-continue', '100-Continue', 'x'])))
  for (let left = dice.below(4); left > 0; left--) {
    fields.push(
      field(recipe, dice.odd(plainNames, oddNames, strangeness), dice.odd(plainValues, oddValues, strangeness)),
    )
  }
  return fields
}

function shuffled(dice: Dice, fields: string[]): string {
  for (let at = fields.length - 1; at > 0; at--) {
    const other = dice.below(at + 1)
    const held = fields[at]!
    fields[at] = fields[other]!
    fields[other] = held
  }
  return fields.join('')
}

function request(recipe: Recipe): string {
  const { dice, strangeness } = recipe
  const { fields, body } = framing(recipe)
  const host = dice.chance(1 - strangeness / 4) ? [field(recipe, 'Host', dice.odd(hosts, oddHosts, strangeness))] : []
  if (dice.chance(strangeness / 6)) host.push(field(recipe, 'Host', 'a-mesh.shop'))
  const spaces = dice.odd([' '], ['  ', '\t', '', ' \t'], strangeness / 6)
  const method = dice.odd(methods, oddMethods, strangeness / 3)
  const target = dice.odd(targets, oddTargets, strangeness / 2)
  const first = `${method} ${target}${spaces}${dice.odd(versions, oddVersions, strangeness / 2)}`
  const lead = dice.chance(strangeness / 6) ? dice.pick(['\r\n', '\r\n\r\n', '\n', ' ', '\0']) : ''
  return (
    lead + line(recipe, first) + shuffled(dice, [...host, ...fields, ...otherFields(recipe)]) + line(recipe, '') + body
  )
}

/** Some pipelined requests. */
export function requests(dice: Dice): string {
  const recipe = { dice, strangeness: dice.pick([0, 0.05, 0.2, 0.5]) }
  let text = request(recipe)
  for (let more = dice.below(3); more > 0; more--) text += request(recipe)
  return text
}

/** One response, perhaps with informational ones before it and something behind it. */
export function response(dice: Dice): string {
  const recipe = { dice, strangeness: dice.pick([0, 0.05, 0.2, 0.5]) }
  const { strangeness } = recipe
  let text = ''
  while (dice.chance(0.15)) {
    text += line(recipe, `HTTP/1.1 ${dice.pick(['100 Continue', '103 Early Hints', '102 Processing'])}`)
    text += shuffled(dice, dice.chance(strangeness / 3) ? framing(recipe).fields : []) + line(recipe, '')
  }
  const { fields, body } = framing(recipe)
  const version = dice.odd(versions, oddVersions, strangeness / 2)
  text += line(recipe, `${version} ${dice.odd(statuses, oddStatuses, strangeness / 2)}`)
  text += shuffled(dice, [...fields, ...otherFields(recipe)]) + line(recipe, '')
  text += body === '' && dice.chance(0.3) ? content(dice, 20) : body
  return dice.chance(0.1) ? `${text}HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n` : text
}
