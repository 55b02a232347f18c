// agent/README.md is what operators go by: its tables list every reason, annotation and flag that there is, and no other.

import { readFileSync } from 'node:fs'
import { expect } from 'chai'
import { readConfig, type UsageError } from '../../agent/config.ts'
import { reasonFacts, reasons } from '../../agent/errors.ts'
import { annotationNames } from '../../controller/resolve/annotations.ts'

const text = readFileSync(new URL('../../agent/README.md', import.meta.url), 'utf8')

/** The rows of the table below a heading, as cells without padding and back quotes. */
function table(heading: string): string[][] {
  const section = text.slice(text.indexOf(`\n## ${heading}\n`) + 1)
  const from = section.indexOf('\n|')
  const rows = section.slice(from + 1, section.indexOf('\n\n', from)).split('\n')
  return rows.slice(2).map((row) =>
    row
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim().replaceAll('`', '')),
  )
}

describe('agent/README.md', () => {
  it('lists every annotation', () => {
    const names = table('Settings of a service').map(([name]) => name)
    expect(names).to.have.members([...annotationNames])
  })

  it('lists every reason with its status', () => {
    const rows = table('Reasons')
    expect(rows.map(([reason]) => reason)).to.have.members(reasons)
    for (const reason of reasons) {
      const status = rows.find(([name]) => name === reason)![1]!
      expect(status, reason).to.match(new RegExp(`^${reasonFacts(reason).status}\\b`))
    }
  })

  it('names only flags that there are', () => {
    let help = ''
    try {
      readConfig(['--help'], {})
    } catch (error) {
      help = (error as UsageError).message
    }
    const known = new Set(help.match(/--[a-z-]+/g))
    const named = [...new Set(text.match(/--[a-z][a-z-]+/g))]
    expect(named.filter((flag) => !known.has(flag))).to.deep.equal([])
    expect(named.length).to.be.greaterThan(20)
  })
})
