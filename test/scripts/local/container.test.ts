// The life of a container in local mode: restarts, probes, the end.

import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { type ContainerOptions, type RunningContainer, startContainer } from '../../../scripts/local/container.ts'
import type { Container } from '../../../scripts/local/objects.ts'
import { type Reaper, startReaper } from '../../../scripts/local/reaper.ts'
import { until as waitUntil } from '../../support/until.ts'

describe('local container', () => {
  let folder: string
  let reaper: Reaper
  let container: RunningContainer | undefined
  const listeners = new Set<() => void>()

  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'weft-container-'))
    reaper = startReaper()
  })
  afterEach(() => container?.stop(0))
  after(async () => {
    await reaper.close()
    rmSync(folder, { recursive: true })
  })

  function start(script: string, more: Partial<Container> = {}, options: Partial<ContainerOptions> = {}) {
    const env = { PATH: process.env.PATH, FOLDER: folder }
    const resolve = (command: string[]) => command
    container = startContainer({
      container: { name: 'c', ...more },
      process: { argv: ['/bin/sh', '-c', script], env, cwd: folder, resolve },
      restartPolicy: 'Always',
      target: { address: '127.44.9.9', from: '127.44.9.1', ports: new Map(), exec: { cwd: folder, env, resolve } },
      logFile: join(folder, 'log'),
      reaper,
      backoffMs: 60,
      changed: () => {
        for (const listener of listeners) listener()
      },
      ...options,
    })
    return container
  }

  /** Waits until the status is as wanted; the test's own time-out is the limit. */
  async function until(holds: (status: ReturnType<RunningContainer['status']>) => boolean): Promise<void> {
    await new Promise<void>((resolve) => {
      const check = () => {
        if (!holds(container!.status())) return
        listeners.delete(check)
        resolve()
      }
      listeners.add(check)
      check()
    })
  }

  it('restarts what ends, at once first and then with a growing back-off', async () => {
    start('echo again >> "$FOLDER/starts"; exit 3')
    await until(({ restartCount }) => restartCount === 1)
    await until(({ state }) => state.waiting?.reason === 'CrashLoopBackOff')
    expect(container!.status().state.waiting?.message).to.equal('back-off 0.06s restarting failed container=c')
    await until(({ restartCount }) => restartCount === 3)
    expect(container!.status().lastState.terminated).to.include({ exitCode: 3, reason: 'Error' })
    await container!.stop(0)
    expect(readFileSync(join(folder, 'starts'), 'utf8').match(/again/g)).to.have.lengthOf.at.least(3)
  })

  it('does not restart what has ended well when the policy says so', async () => {
    start('exit 0', {}, { restartPolicy: 'OnFailure' })
    await until(({ state }) => state.terminated !== undefined)
    expect(container!.status()).to.deep.include({ restartCount: 0, ready: false })
    expect(container!.status().state.terminated).to.include({ exitCode: 0, reason: 'Completed' })
  })

  it('is ready only after its startup and readiness probes', async () => {
    const probe = (file: string) => ({ exec: { command: ['test', '-e', join(folder, file)] }, periodSeconds: 0.05 })
    start('sleep 60', { startupProbe: { ...probe('up'), failureThreshold: 1000 }, readinessProbe: probe('ready') })
    expect(container!.status()).to.include({ started: false, ready: false })
    writeFileSync(join(folder, 'up'), '')
    await until(({ started }) => started)
    expect(container!.status().ready).to.equal(false)
    writeFileSync(join(folder, 'ready'), '')
    await until(({ ready }) => ready)
    rmSync(join(folder, 'ready'))
    await until(({ ready }) => !ready)
  })

  it('probes a port by TCP from the address of the node', async () => {
    const server: Server = createServer()
    server.listen(0, '127.44.9.9')
    await once(server, 'listening')
    const sources: (string | undefined)[] = []
    server.on('connection', (socket) => {
      sources.push(socket.remoteAddress)
      socket.destroy()
    })
    const { port } = server.address() as { port: number }
    start('sleep 60', { readinessProbe: { tcpSocket: { port }, periodSeconds: 0.05 } })
    await until(({ ready }) => ready)
    server.close()
    await until(({ ready }) => !ready)
    expect(sources[0]).to.equal('127.44.9.1')
  })

  it('kills what fails its liveness probe and starts it again', async () => {
    const livenessProbe = { exec: { command: ['test', '-e', join(folder, 'alive')] }, periodSeconds: 0.05 }
    start('sleep 60', { livenessProbe: { ...livenessProbe, failureThreshold: 2 } })
    await until(({ restartCount }) => restartCount > 0)
    expect(container!.status().lastState.terminated?.message).to.match(/liveness probe failed/)
  })

  it('sends SIGTERM first and SIGKILL when the grace period is over, to the whole process group', async () => {
    start('trap "echo told > \\"$FOLDER/told\\"" TERM; sleep 60 & echo $! > "$FOLDER/child"; while :; do wait; done')
    const isWritten = () => existsSync(join(folder, 'child')) && readFileSync(join(folder, 'child'), 'utf8') !== ''
    await waitUntil(isWritten, 'the number of the child')
    await container!.stop(300)
    expect(readFileSync(join(folder, 'told'), 'utf8')).to.equal('told\n')
    expect(container!.status().state.terminated).to.include({ exitCode: 137 })
    const child = Number(readFileSync(join(folder, 'child'), 'utf8'))
    // Whoever has adopted it takes a moment to bury it.
    await waitUntil(() => !isRunning(child), 'the end of the whole group')
  })

  it('runs the preStop hook before SIGTERM', async () => {
    const lifecycle = { preStop: { exec: { command: ['/bin/sh', '-c', `echo hook > "${folder}/order"`] } } }
    start(`trap 'echo term >> "$FOLDER/order"; exit 0' TERM; echo up > "$FOLDER/armed"; while :; do sleep 0.02; done`, {
      lifecycle,
      readinessProbe: { exec: { command: ['test', '-e', join(folder, 'armed')] }, periodSeconds: 0.05 },
    })
    await until(({ ready }) => ready)
    await container!.stop(5000)
    expect(readFileSync(join(folder, 'order'), 'utf8')).to.equal('hook\nterm\n')
  })

  it('reports a program that does not exist', async () => {
    start('', {}, { process: { argv: ['/nowhere/x'], env: {}, cwd: folder, resolve: (command) => command } })
    await until(({ lastState }) => lastState.terminated !== undefined)
    expect(container!.status().lastState.terminated).to.include({ exitCode: 127, reason: 'StartError' })
  })
})

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0)
  } catch {
    return false
  }
  // A process that has ended but that nobody has asked about yet.
  return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
}
