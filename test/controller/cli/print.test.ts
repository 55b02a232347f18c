// How `weft check` prints, for people and for machines.

import { expect } from 'chai'
import type { Check } from '../../../controller/cli/checks/check.ts'
import { asTyped, formatChecks, printable } from '../../../controller/cli/print.ts'

const checks: Check[] = [
  { category: 'one', status: 'ok', text: 'a', hint: '' },
  { category: 'one', status: 'warning', text: 'b: odd', hint: 'do b' },
  { category: 'two', status: 'error', text: 'c: bad', hint: '' },
]

describe('printed checks', () => {
  it('stands under headings', () => {
    expect(formatChecks(checks, 'text')).to.equal(
      'one\n---\n√ a\n‼ b: odd\n    do b\n\ntwo\n---\n× c: bad\n\nStatus check results are ×\n',
    )
  })

  it('names commands as people type them', () => {
    const [hint] = [
      { category: 'a', status: 'error' as const, text: 'x', hint: 'weft install --apply; see weft agents' },
    ]
    expect(formatChecks([hint!], 'text', 'kubectl weft')).to.include(
      '    kubectl weft install --apply; see kubectl weft agents\n',
    )
    expect(asTyped('kubectl -n weft-system logs deployment/weft-controller', 'kubectl weft')).to.equal(
      'kubectl -n weft-system logs deployment/weft-controller',
    )
  })

  it('leaves out what is well in the short form', () => {
    expect(formatChecks(checks, 'short')).to.not.include('√ a')
    expect(formatChecks(checks.slice(0, 1), 'short')).to.equal('Status check results are √\n')
  })

  it('is JSON for machines', () => {
    expect(JSON.parse(formatChecks(checks, 'json'))).to.deep.equal({ success: false, checks })
  })

  it('lets no text steer the terminal', () => {
    expect(printable('a\u001b[31mb\nc\u009bd')).to.equal('a [31mb c d')
  })
})
