// The processes a benchmark starts: pinned to cores, measured through /proc, and ended by pid, whatever happens.

import { spawn, spawnSync } from 'node:child_process'
import { closeSync, openSync, readdirSync, readFileSync } from 'node:fs'
import { connect } from 'node:net'

/** USER_HZ: on every Linux that Node runs on, /proc counts CPU time in hundredths of a second. */
const tickUs = 10_000

export interface Child {
  readonly name: string
  readonly pid: number
  /** Resolves with the exit code once it has ended (null: by a signal). */
  readonly exited: Promise<number | null>
  /** What it wrote to stderr so far, the last 4 KiB. */
  complaints(): string
  /** What it wrote to stdout so far, unless that went to a file. */
  printed(): string
  /** SIGTERM to it, after 3 s SIGKILL to it and all it started. */
  stop(): Promise<void>
}

const running = new Set<Child>()

/**
 * Starts a process on the given cores, with as many file descriptors as this user may have.
 * @param options.cores as taskset takes them (`0`, `0,1`); empty: no pinning
 * @param options.output file that gets its stdout; without it, stdout is kept for `printed`
 */
export function launch(
  name: string,
  command: string[],
  options: { cores: string; output?: string; env?: NodeJS.ProcessEnv },
): Child {
  const pin = options.cores === '' ? '' : `taskset -c ${options.cores} `
  const output = options.output === undefined ? null : openSync(options.output, 'a')
  const child = spawn('/bin/sh', ['-c', `ulimit -Sn "$(ulimit -Hn)"; exec ${pin}"$@"`, 'sh', ...command], {
    stdio: ['ignore', output ?? 'pipe', 'pipe'],
    ...(options.env === undefined ? {} : { env: { ...process.env, ...options.env } }),
  })
  if (output !== null) closeSync(output)
  if (child.pid === undefined) throw new Error(`${name}: /bin/sh could not be started`)
  let complaints = ''
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    complaints = (complaints + text).slice(-4096)
  })
  let printed = ''
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    printed += text
  })
  const exited = new Promise<number | null>((resolve) => child.once('close', (code) => resolve(code)))
  const started: Child = {
    name,
    pid: child.pid,
    exited,
    complaints: () => complaints,
    printed: () => printed,
    stop: () => end(started),
  }
  running.add(started)
  void exited.then(() => running.delete(started))
  return started
}

async function end(child: Child): Promise<void> {
  if (!running.has(child)) return
  const whole = tree(child.pid)
  signal(child.pid, 'SIGTERM')
  const late = setTimeout(() => {
    for (const pid of whole) signal(pid, 'SIGKILL')
  }, 3000)
  await child.exited
  clearTimeout(late)
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name)
  } catch {
    // It has ended by itself.
  }
}

/** Ends everything that is still running. */
export async function endAll(): Promise<void> {
  await Promise.all([...running].map((child) => child.stop()))
}

/**
 * Waits until something listens at an address.
 * @throws Error with the process's own words if it ended meanwhile, or after 20 s
 */
export async function listening(child: Child, address: string, port: number): Promise<void> {
  let code: number | null | undefined
  void child.exited.then((value) => {
    code = value
  })
  const deadline = Date.now() + 20_000
  while (!(await canConnect(address, port))) {
    if (code !== undefined) throw new Error(`${child.name} ended with ${code}: ${child.complaints()}`)
    if (Date.now() > deadline) throw new Error(`${child.name} does not listen: ${child.complaints()}`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

function canConnect(address: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, address)
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}

/** The process and all its descendants. */
export function tree(root: number): number[] {
  const parents = new Map<number, number>()
  for (const entry of readdirSync('/proc')) {
    const fields = /^\d+$/.test(entry) ? stat(Number(entry)) : null
    if (fields !== null) parents.set(Number(entry), Number(fields[1]))
  }
  const found = [root]
  for (let at = 0; at < found.length; at++) {
    for (const [pid, parent] of parents) if (parent === found[at]) found.push(pid)
  }
  return found
}

/** Fields of /proc/PID/stat from the third on, or null if there is no such process. */
function stat(pid: number): string[] | null {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1')
    return text.slice(text.lastIndexOf(')') + 2).split(' ')
  } catch {
    return null
  }
}

/** CPU time (user and system) that the processes have used, in microseconds; its grain is 10 ms. */
export function cpuUs(pids: readonly number[]): number {
  let ticks = 0
  for (const pid of pids) {
    const fields = stat(pid)
    if (fields !== null) ticks += Number(fields[11]) + Number(fields[12])
  }
  return ticks * tickUs
}

/** Resident memory of the processes in bytes. */
export function rssBytes(pids: readonly number[]): number {
  let kib = 0
  for (const pid of pids) {
    try {
      kib += Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1] ?? 0)
    } catch {
      // It has ended by itself.
    }
  }
  return kib * 1024
}

/** The cores this process may run on. */
export function cores(): number[] {
  const list = /^Cpus_allowed_list:\s+(\S+)/m.exec(readFileSync('/proc/self/status', 'latin1'))?.[1] ?? '0'
  return list.split(',').flatMap((range) => {
    const [first, last] = range.split('-').map(Number)
    return Array.from({ length: (last ?? first!) - first! + 1 }, (_, index) => first! + index)
  })
}

/** Where a command is, or null. */
export function which(command: string): string | null {
  const path = [process.env['PATH'] ?? '', '/usr/sbin', '/usr/local/sbin'].join(':')
  const found = spawnSync('/bin/sh', ['-c', 'command -v "$1"', 'sh', command], {
    env: { ...process.env, PATH: path },
    encoding: 'utf8',
  })
  return found.status === 0 ? found.stdout.trim() : null
}

/** First line that a command prints, or an empty string. */
export function firstLine(command: string[]): string {
  const printed = spawnSync(command[0]!, command.slice(1), { encoding: 'utf8' })
  return (printed.stdout + printed.stderr).trim().split('\n')[0] ?? ''
}

/** How many file descriptors a process that `launch` starts may have. */
export function fileLimit(): number {
  const limit = /^Max open files\s+\d+\s+(\d+|unlimited)/m.exec(readFileSync('/proc/self/limits', 'latin1'))?.[1]
  return limit === undefined || limit === 'unlimited' ? 1 << 20 : Number(limit)
}

/** Connections that a proxy can carry at once with two descriptors for each, and some to spare. */
export function connectionLimit(): number {
  return (fileLimit() >> 1) - 50
}
