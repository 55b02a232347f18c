// The controller as a process of its own, with its production flags, on free ports of 127.0.0.1.

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { until } from './until.ts'

const main = fileURLToPath(new URL('../../controller/main.ts', import.meta.url))

export interface ControllerProcess {
  readonly pod: string
  /** The agents' link. */
  readonly port: number
  readonly adminPort: number
  /** The validating webhook. */
  readonly admissionPort: number
  /** Parsed lines of its log. */
  readonly lines: Record<string, unknown>[]
  readonly pid: number
  /** Body of a page of the stats port, or of the admin port if it is one of `/debug`. */
  get(path: string): Promise<{ status: number; text: string }>
  isLeader(): Promise<boolean>
  /** Sends a signal and waits for the end. @returns the exit code, null after SIGKILL */
  stop(signal?: NodeJS.Signals): Promise<number | null>
}

const ports = ['port', 'statsPort', 'adminPort', 'admissionPort'] as const
const anyPort = ['--port', '--stats-port', '--admin-port', '--admission-port'].flatMap((flag) => [flag, '0'])

/** Starts a controller and waits until its ports listen. */
export async function startController(kubeconfig: string, pod: string, ...args: string[]): Promise<ControllerProcess> {
  const child: ChildProcess = spawn(
    process.execPath,
    [main, '--address', '127.0.0.1', ...anyPort, '--pod', pod, ...args],
    { env: { PATH: process.env['PATH'] ?? '', KUBECONFIG: kubeconfig }, stdio: ['ignore', 'pipe', 'pipe'] },
  )
  const lines: Record<string, unknown>[] = []
  let rest = ''
  let errors = ''
  child.stdout!.on('data', (chunk: Buffer) => {
    const parts = (rest + chunk.toString()).split('\n')
    rest = parts.pop()!
    for (const part of parts) lines.push(JSON.parse(part) as Record<string, unknown>)
  })
  child.stderr!.on('data', (chunk: Buffer) => {
    errors += chunk.toString()
  })
  const started = () => lines.find(({ msg }) => msg === 'controller started')
  await until(() => started() !== undefined || child.exitCode !== null, 'the start of the controller', 30_000)
  if (started() === undefined) throw new Error(`the controller ended: ${errors}`)
  const { port, statsPort, adminPort, admissionPort } = started() as Record<(typeof ports)[number], number>

  async function get(path: string) {
    const response = await fetch(`http://127.0.0.1:${path.startsWith('/debug') ? adminPort : statsPort}${path}`)
    return { status: response.status, text: await response.text() }
  }

  return {
    pod,
    port,
    adminPort,
    admissionPort,
    pid: child.pid!,
    lines,
    get,
    isLeader: async () => (await get('/metrics')).text.includes('weft_controller_leader 1\n'),
    async stop(signal = 'SIGTERM') {
      if (child.exitCode !== null || child.signalCode !== null) return child.exitCode
      child.kill(signal)
      const [code] = (await once(child, 'exit')) as [number | null]
      return code
    },
  }
}
