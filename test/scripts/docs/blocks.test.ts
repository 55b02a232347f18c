// Which commands of a text are run, and when what they print is what the text shows.

import { expect } from 'chai'
import { looksLike, readCommands } from '../../../scripts/docs/blocks.ts'

describe('docs: runnable blocks', () => {
  const text = [
    '```console runnable',
    '$ echo one',
    'one',
    '$ echo two \\',
    '    three',
    '```',
    '```console',
    '$ rm -rf /',
    '```',
    '```sh runnable=cluster exits=0,79',
    'a',
    'b',
    '```',
  ].join('\n')

  it('are read with their lines, outputs and exit codes', () => {
    expect(readCommands('x.md', text, 'local')).to.deep.equal([
      { file: 'x.md', line: 2, text: 'echo one', shown: ['one'], exits: [0] },
      { file: 'x.md', line: 4, text: 'echo two \\\n    three', shown: [], exits: [0] },
    ])
    expect(readCommands('x.md', text, 'cluster')).to.deep.equal([
      { file: 'x.md', line: 11, text: 'a\nb', shown: [], exits: [0, 79] },
    ])
  })

  it('are refused with marks that nobody knows, and without an end', () => {
    expect(() => readCommands('x.md', '```sh runable\n```', 'local')).to.throw(
      'x.md:1: the mark "runable" is not known',
    )
    expect(() => readCommands('x.md', '```sh runnable\n', 'local')).to.throw('x.md:1: the block has no end')
  })

  it('compare first lines without numbers and made-up names', () => {
    expect(looksLike('reviews-v1-de350d41b3-lpfxg 1/1\n', ['reviews-v1-0123456789-abcde   0/1'])).to.equal(true)
    expect(looksLike('x\nservice/a unchanged\n', ['service/a created'])).to.equal(true)
    expect(looksLike('HTTP/1.1 403 Forbidden', ['HTTP/1.1 200 OK'])).to.equal(false)
    expect(looksLike('', [])).to.equal(true)
  })
})
