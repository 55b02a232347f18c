// The command line tool as a process: `weft`, or as a plugin `kubectl weft`.

import { once } from 'node:events'
import { basename } from 'node:path'
import { createInterface } from 'node:readline/promises'
import { exits } from './exits.ts'
import { runTool } from './tool.ts'

process.once('SIGINT', () => process.exit(exits.interrupted))
// Whoever reads has enough: `weft install | head` is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  process.exit(error.code === 'EPIPE' ? exits.ok : exits.failed)
})

async function ask(question: string): Promise<string> {
  const lines = createInterface({ input: process.stdin, output: process.stderr })
  try {
    // Ctrl-D is no answer, and no consent.
    return await Promise.race([lines.question(question), once(lines, 'close').then(() => '')])
  } finally {
    lines.close()
  }
}

process.exitCode = await runTool(basename(process.argv[1] ?? ''), process.argv.slice(2), {
  print: (text) => void process.stdout.write(text),
  complain: (text) => void process.stderr.write(text),
  ask: process.stdin.isTTY ? ask : null,
})
