// What the tool prints: headings and a line for each check as people read them, the short form without what is well, and
// JSON for machines.

import type { Check } from './checks/check.ts'

/** `table` is another word for `text`, which linkerd's users know. */
export type Format = 'text' | 'table' | 'short' | 'json'

const marks = { ok: '√', warning: '‼', error: '×' } as const

/** The text for a list of checks. @param name what people type: hints name commands of this tool */
export function formatChecks(all: readonly Check[], format: Format, name = 'weft'): string {
  const checks = all.map((each) => ({ ...each, hint: asTyped(each.hint, name) }))
  const isWell = checks.every(({ status }) => status !== 'error')
  if (format === 'json') return `${JSON.stringify({ success: isWell, checks }, null, 2)}\n`
  const shown = format === 'short' ? checks.filter(({ status }) => status !== 'ok') : checks
  const lines: string[] = []
  let category = ''
  for (const { category: own, status, text, hint } of shown) {
    if (own !== category) lines.push(...(category === '' ? [] : ['']), own, '-'.repeat(own.length))
    category = own
    lines.push(`${marks[status]} ${printable(text)}`)
    if (hint !== '') lines.push(`    ${printable(hint)}`)
  }
  lines.push(...(lines.length === 0 ? [] : ['']), `Status check results are ${isWell ? marks.ok : marks.error}`)
  return `${lines.join('\n')}\n`
}

/** A text of our own with the tool's commands as people type them, who may have it as a plugin of kubectl. */
export function asTyped(text: string, name: string): string {
  return text.replace(/\bweft (?=(?:agents|ca|check|dns|endpoints|install|uninstall|upgrade|validate)\b)/g, `${name} `)
}

/** Text from the cluster must not steer the terminal. */
export function printable(text: string): string {
  return text.replace(/[\x00-\x1f\x7f-\x9f]/g, ' ')
}
