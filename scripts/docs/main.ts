// `npm run docs:check`: does what the texts tell people to do. Runs every command that is marked as runnable, each file in a
// shell of its own, against a mesh in local mode that it starts, or with --cluster against the cluster that KUBECONFIG names.
// usage: node scripts/docs/main.ts [--cluster] [FILE...]

import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { globSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { root } from '../local/environment.ts'
import { type Command, looksLike, readCommands, type Where } from './blocks.ts'

const mark = '\x1e'
const startMs = 90_000
const fileMs = 600_000

/** A folder that looks like the repository, with a `.weft` of its own. */
function makePlace(): string {
  const place = mkdtempSync(join(tmpdir(), 'weft-docs-'))
  for (const entry of readdirSync(root)) {
    if (entry !== '.weft' && entry !== '.git') symlinkSync(join(root, entry), join(place, entry))
  }
  mkdirSync(join(place, '.weft'))
  return place
}

/** Starts local mode there; resolves when it has printed its guide. */
async function startLocal(place: string): Promise<ChildProcess> {
  const args = [join(root, 'scripts/local/launch.js'), '--folder', join(place, '.weft'), '--port', '0', '--quiet']
  const child = spawn(process.execPath, [...args, '--offset', '45'], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let output = ''
  const isReady = new Promise<void>((resolve, reject) => {
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      output += text
      if (output.includes('/metrics')) resolve()
    })
    child.once('exit', () => reject(new Error(`npm start ended: ${output}`)))
    setTimeout(() => reject(new Error(`npm start was not ready after ${startMs} ms: ${output}`)), startMs).unref()
  })
  await isReady
  return child
}

/** All commands of a file in one bash, so that variables and functions stay. @returns what is wrong */
function runFile(commands: readonly Command[], place: string): string[] {
  const script = commands
    .map(({ text }, at) => `printf '${mark}${at}\\n'\n{ ${text}\n} 2>&1 </dev/null\nprintf '${mark}=%d\\n' $?\n`)
    .join('')
  const env = { ...process.env, PATH: `${join(root, 'node_modules/.bin')}:${process.env['PATH']}` }
  const settings = { cwd: place, env, encoding: 'utf8', timeout: fileMs, maxBuffer: 1 << 26 } as const
  const { stdout } = spawnSync('bash', ['-c', `set -o pipefail\n${script}`], settings)
  const parts = stdout.split(mark)
  return commands.flatMap((command, at) => {
    const printed = parts.find((part) => part.startsWith(`${at}\n`))?.slice(`${at}\n`.length)
    const status = parts[parts.findIndex((part) => part.startsWith(`${at}\n`)) + 1]?.match(/^=(\d+)/)?.[1]
    const where = `${command.file}:${command.line}: ${command.text}`
    if (printed === undefined || status === undefined) return [`${where}\n  was not run to its end`]
    if (!command.exits.includes(Number(status))) return [`${where}\n  ended with ${status}:\n${printed}`]
    if (!looksLike(printed, command.shown)) return [`${where}\n  shows "${command.shown[0]}", but printed:\n${printed}`]
    return []
  })
}

async function main(args: string[]): Promise<number> {
  const where: Where = args.includes('--cluster') ? 'cluster' : 'local'
  const named = args.filter((arg) => arg !== '--cluster')
  const all = globSync('**/README.md', { cwd: root, exclude: (path) => /node_modules|\.weft/.test(String(path)) })
  const files = (named.length > 0 ? named : all).sort()
  const found = files.map((file) => readCommands(file, readFileSync(join(root, file), 'utf8'), where))
  const count = found.reduce((sum, commands) => sum + commands.length, 0)
  if (count === 0) {
    console.log('no command is marked as runnable')
    return 1
  }
  if (where === 'cluster' && !process.env['KUBECONFIG']) {
    console.error('KUBECONFIG must name the cluster that the commands are run on')
    return 64
  }
  const place = makePlace()
  let local: ChildProcess | null = null
  try {
    if (where === 'local') local = await startLocal(place)
    const wrong = found.filter((commands) => commands.length > 0).flatMap((commands) => runFile(commands, place))
    for (const text of wrong) console.log(text)
    console.log(`${count} commands of ${found.filter(({ length }) => length > 0).length} files, ${wrong.length} wrong`)
    return wrong.length === 0 ? 0 : 1
  } finally {
    if (local !== null) {
      const exited = once(local, 'exit')
      local.kill('SIGINT')
      await exited
    }
    rmSync(place, { recursive: true, force: true })
  }
}

process.exitCode = await main(process.argv.slice(2))
