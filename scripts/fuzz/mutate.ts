// Changes to messages that look at no grammar: what breaks, doubles and swaps bytes finds what a grammar never says.

import type { Dice } from './dice.ts'

const tokens = [
  ...[
    '\r\n',
    '\n',
    '\r',
    '\0',
    ' ',
    '\t',
    ':',
    ',',
    ';',
    '0\r\n\r\n',
    '\r\n\r\n',
    '\x0b',
    '\x80',
    '\xff',
    '\x7f',
    '\r\n ',
    '#',
    '\\',
  ],
  ...[
    'Content-Length: 5\r\n',
    'Transfer-Encoding: chunked\r\n',
    'Transfer-Encoding:\r\n chunked\r\n',
    'Connection: close\r\n',
  ],
  ...[
    'HTTP/1.1',
    'GET / HTTP/1.1\r\nHost: a-mesh.shop\r\n\r\n',
    'chunked',
    '100-continue',
    'ffffffff',
    '7fffffffffffffff',
    '-1',
    '%00',
  ],
]

/** Applies one to five changes; `other` is a message to take pieces from. */
export function mutate(dice: Dice, text: string, other: string): string {
  let changed = text
  for (let left = 1 + dice.below(5); left > 0; left--) changed = mutateOnce(dice, changed, other)
  return changed.slice(0, 16_384)
}

function mutateOnce(dice: Dice, text: string, other: string): string {
  const at = dice.below(text.length + 1)
  const to = Math.min(text.length, at + 1 + dice.below(dice.chance(0.8) ? 8 : 200))
  switch (dice.below(8)) {
    case 0:
      return text.slice(0, at) + String.fromCharCode(dice.below(256)) + text.slice(at + 1)
    case 1:
      return text.slice(0, at) + text.slice(to)
    case 2:
      return text.slice(0, to) + text.slice(at)
    case 3:
      return text.slice(0, at) + dice.pick(tokens) + text.slice(dice.chance(0.5) ? at : to)
    case 4:
      return text.slice(0, at) + other.slice(dice.below(other.length + 1))
    case 5:
      return swapLines(dice, text)
    case 6:
      return text.slice(0, at)
    default: {
      const code = text.charCodeAt(at) ^ (1 << dice.below(8))
      return at < text.length ? text.slice(0, at) + String.fromCharCode(code & 0xff) + text.slice(at + 1) : text
    }
  }
}

function swapLines(dice: Dice, text: string): string {
  const lines = text.split('\r\n')
  const one = dice.below(lines.length)
  const two = dice.below(lines.length)
  const held = lines[one]!
  lines[one] = lines[two]!
  lines[two] = held
  return lines.join('\r\n')
}
