// The command blocks of Markdown that are marked as runnable: ```console runnable (commands after `$ `, and what they print) or
// ```sh runnable. The mark may say where (`runnable=cluster`) and which exit codes are meant (`exits=0,79`).

/** Where a block can be run: in local mode, or on a cluster that KUBECONFIG names. */
export type Where = 'local' | 'cluster'

/** A command of a block. */
export interface Command {
  readonly file: string
  /** Counted from 1. */
  readonly line: number
  readonly text: string
  /** What the text shows of its output. */
  readonly shown: readonly string[]
  readonly exits: readonly number[]
}

/**
 * Reads the runnable commands of a Markdown file, in their order.
 * @throws Error with file and line where a mark can't be read
 */
export function readCommands(file: string, markdown: string, where: Where): Command[] {
  const commands: Command[] = []
  const lines = markdown.split('\n')
  for (let at = 0; at < lines.length; at++) {
    const fence = lines[at]!.match(/^```(\S+)(.*)$/)
    if (fence === null) continue
    const end = lines.indexOf('```', at + 1)
    if (end === -1) throw new Error(`${file}:${at + 1}: the block has no end`)
    const marks = readMarks(file, at + 1, fence[2]!.trim())
    if (marks?.where === where) {
      const body = lines.slice(at + 1, end)
      const read = fence[1] === 'console' ? readConsole : readShell
      for (const { offset, text, shown } of read(body)) {
        commands.push({ file, line: at + 2 + offset, text, shown, exits: marks.exits })
      }
    }
    at = end
  }
  return commands
}

function readMarks(file: string, line: number, info: string): { where: Where; exits: number[] } | null {
  let where: Where | null = null
  let exits = [0]
  for (const mark of info.split(/\s+/).filter((word) => word !== '')) {
    const [name, value = ''] = mark.split('=')
    if (name === 'runnable' && (value === '' || value === 'cluster')) where = value === '' ? 'local' : 'cluster'
    else if (name === 'exits' && /^\d+(,\d+)*$/.test(value)) exits = value.split(',').map(Number)
    else throw new Error(`${file}:${line}: the mark "${mark}" is not known; use runnable, runnable=cluster, exits=0,79`)
  }
  return where === null ? null : { where, exits }
}

interface Part {
  offset: number
  text: string
  shown: string[]
}

/** Commands stand behind `$ `, go on after a backslash, and are followed by what they print. */
function readConsole(body: readonly string[]): Part[] {
  const parts: Part[] = []
  let isOpen = false
  body.forEach((line, offset) => {
    const last = parts.at(-1)
    if (isOpen && last !== undefined) last.text += `\n${line}`
    else if (line.startsWith('$ ')) parts.push({ offset, text: line.slice(2), shown: [] })
    else last?.shown.push(line)
    isOpen = (isOpen || line.startsWith('$ ')) && line.endsWith('\\')
  })
  return parts
}

/** The whole block is one script. */
function readShell(body: readonly string[]): Part[] {
  return [{ offset: 0, text: body.join('\n'), shown: [] }]
}

/**
 * Whether what a command printed begins like what the text shows: its first line, with numbers, names that Kubernetes makes,
 * and spaces left out.
 */
export function looksLike(printed: string, shown: readonly string[]): boolean {
  const first = shown.find((line) => line.trim() !== '')
  if (first === undefined) return true
  const wanted = shape(first)
  return printed.split('\n').some((line) => shape(line) === wanted)
}

function shape(line: string): string {
  return line
    .replace(/-[0-9a-f]{8,10}-[0-9a-z]{5}\b/g, '-POD')
    .replace(/\d+/g, '0')
    .replace(/\b(created|configured|unchanged|serverside-applied)$/, 'applied')
    .replace(/\s+/g, ' ')
    .trim()
}
