// What a change does to a text, for people to read before it is made.

const around = 3

/**
 * The change between two texts, as `diff -u` shows it: one hunk, since our changes stand in one place. Empty if there is none.
 * @param title names what is changed
 */
export function diffOf(title: string, before: string, after: string): string {
  if (before === after) return ''
  const old = linesOf(before)
  const next = linesOf(after)
  let first = 0
  while (first < old.length && first < next.length && old[first] === next[first]) first++
  let last = 0
  const most = Math.min(old.length, next.length) - first
  while (last < most && old[old.length - 1 - last] === next[next.length - 1 - last]) last++
  const start = Math.max(0, first - around)
  const tail = Math.min(last, around)
  const removed = old.slice(first, old.length - last)
  const added = next.slice(first, next.length - last)
  const range = (length: number) => `${length === 0 ? 0 : start + 1},${length}`
  const head = first - start
  const lines = [
    `--- ${title}`,
    `+++ ${title}`,
    `@@ -${range(head + removed.length + tail)} +${range(head + added.length + tail)} @@`,
    ...old.slice(start, first).map((line) => ` ${line}`),
    ...removed.map((line) => `-${line}`),
    ...added.map((line) => `+${line}`),
    ...old.slice(old.length - last, old.length - last + tail).map((line) => ` ${line}`),
  ]
  return `${lines.join('\n')}\n`
}

function linesOf(text: string): string[] {
  const lines = text.split('\n')
  if (lines.at(-1) === '') lines.pop()
  return lines
}
