// The command line tool as tests run it: in this process, since a process of its own takes a second, and most of what there
// is to test comes after that.

import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { runTool } from '../../controller/cli/tool.ts'

const launch = fileURLToPath(new URL('../../controller/cli/launch.js', import.meta.url))

export interface CliResult {
  code: number
  out: string
  err: string
}

/** Runs the tool here, with nobody at a terminal. */
export function runCli(...args: string[]): Promise<CliResult> {
  return runCliAsked(null, ...args)
}

/** Runs the tool here. @param answer what the person at the terminal says to every question */
export async function runCliAsked(answer: string | null, ...args: string[]): Promise<CliResult> {
  let out = ''
  let err = ''
  const code = await runTool('weft', args, {
    print: (text) => {
      out += text
    },
    complain: (text) => {
      err += text
    },
    ask:
      answer === null
        ? null
        : async (question) => {
            err += question
            return answer
          },
  })
  return { code, out, err }
}

/** Runs the tool as people do, as a process. @param input for its standard input */
export function spawnCli(args: readonly string[], input = '', env: Record<string, string> = {}): Promise<CliResult> {
  return new Promise((done) => {
    const options = { maxBuffer: 16 << 20, env: { ...process.env, ...env } }
    const child = execFile(process.execPath, [launch, ...args], options, (error, out, err) => {
      done({ code: error === null ? 0 : Number(error.code ?? 1), out, err })
    })
    child.stdin?.end(input)
  })
}
