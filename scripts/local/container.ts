// One container of a pod: its process, the probes that judge it, restarts with back-off, and its end.

import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, openSync, writeSync } from 'node:fs'
import { constants } from 'node:os'
import type { Process } from './environment.ts'
import type { Container, ContainerState, ContainerStatus, PodSpec } from './objects.ts'
import { type ProbeTarget, repeat } from './probe.ts'
import type { Reaper } from './reaper.ts'

export interface ContainerOptions {
  container: Container
  process: Process
  restartPolicy: NonNullable<PodSpec['restartPolicy']>
  target: ProbeTarget
  logFile: string
  reaper: Reaper
  /** The first back-off; doubles with each restart. Kubernetes' is 10 s. */
  backoffMs: number
  /** Told whenever the status is another one. */
  changed(): void
}

export interface RunningContainer {
  status(): ContainerStatus
  /**
   * Ends it: preStop hook, SIGTERM, then SIGKILL when the time is over; 0 is SIGKILL at once, also of one that is ending.
   * Resolves when the process is gone.
   */
  stop(graceMs: number): Promise<void>
}

const maxBackoffMs = 300_000
/** A container that ran this long starts over with the first back-off. */
const stableMs = 600_000

/** Starts the container; it restarts by its policy until stopped. */
export function startContainer(options: ContainerOptions): RunningContainer {
  const { container, restartPolicy, target, reaper, changed } = options
  const { argv, cwd, env } = options.process
  let child: ChildProcess | undefined
  let state: ContainerState = { waiting: { reason: 'ContainerCreating' } }
  let lastState: ContainerState = {}
  let restartCount = 0
  let crashes = 0
  let isStarted = false
  let isReady = false
  let stopping: Promise<void> | undefined
  let exited: Promise<void> = Promise.resolve()
  let timer: NodeJS.Timeout | undefined
  let stopProbes: (() => void)[] = []
  /** Why the process is being killed, for the log. */
  let verdict = ''

  start()

  function start(): void {
    const log = openSync(options.logFile, 'a')
    const startedAt = new Date()
    const [file = '', ...args] = argv
    child = spawn(file, args, { cwd, env, detached: true, stdio: ['ignore', log, log] })
    closeSync(log)
    const group = child.pid
    if (group !== undefined) reaper.add(group)
    exited = new Promise((resolve) => {
      const end = (code: number | null, signal: NodeJS.Signals | null, message = '') => {
        if (group !== undefined) {
          killGroup(group, 'SIGKILL')
          reaper.remove(group)
        }
        ended(startedAt, code ?? 128 + (constants.signals[signal ?? 'SIGKILL'] ?? 0), message)
        resolve()
      }
      child!.once('exit', (code, signal) => end(code, signal))
      child!.once('error', (error) => {
        if (group === undefined) end(127, null, error.message)
      })
    })
    state = { running: { startedAt: startedAt.toISOString() } }
    isStarted = container.startupProbe === undefined
    isReady = isStarted && container.readinessProbe === undefined
    probe()
    changed()
  }

  function probe(): void {
    const { startupProbe, readinessProbe, livenessProbe } = container
    if (!isStarted && startupProbe) {
      const stop = repeat(startupProbe, target, (succeeded, failure) => {
        if (!succeeded) return restart(`startup probe failed: ${failure}`)
        stop()
        isStarted = true
        isReady = readinessProbe === undefined
        probe()
        changed()
      })
      stopProbes = [stop]
      return
    }
    stopProbes = []
    if (readinessProbe) {
      stopProbes.push(
        repeat(readinessProbe, target, (succeeded) => {
          if (succeeded === isReady) return
          isReady = succeeded
          changed()
        }),
      )
    }
    if (livenessProbe && !stopping) {
      const stop = repeat(livenessProbe, target, (succeeded, failure) => {
        if (succeeded) return
        stop()
        restart(`liveness probe failed: ${failure}`)
      })
      stopProbes.push(stop)
    }
  }

  /** Ends the process because a probe says so; its exit then starts it again. */
  function restart(reason: string): void {
    endProbes()
    verdict = reason
    note(`local mode: container is restarted: ${reason}`)
    void terminate(child, exited, 30_000)
  }

  function note(message: string): void {
    const log = openSync(options.logFile, 'a')
    writeSync(log, `${message}\n`)
    closeSync(log)
  }

  function endProbes(): void {
    for (const stop of stopProbes) stop()
    stopProbes = []
  }

  function ended(startedAt: Date, exitCode: number, message: string): void {
    endProbes()
    isReady = false
    isStarted = false
    const finishedAt = new Date()
    const reason = exitCode === 0 ? 'Completed' : message ? 'StartError' : 'Error'
    const detail = message || verdict
    verdict = ''
    const terminated = {
      exitCode,
      reason,
      ...(detail ? { message: detail } : {}),
      startedAt: startedAt.toISOString(),
      finishedAt: finishedAt.toISOString(),
    }
    state = { terminated }
    const again = restartPolicy === 'Always' || (restartPolicy === 'OnFailure' && exitCode !== 0)
    if (again && !stopping) {
      lastState = { terminated }
      startAgain(finishedAt.getTime() - startedAt.getTime())
    }
    changed()
  }

  function startAgain(ranMs: number): void {
    if (ranMs > stableMs) crashes = 0
    // The first restart comes at once, as the kubelet's does.
    const waitMs = crashes === 0 ? 0 : Math.min(options.backoffMs * 2 ** (crashes - 1), maxBackoffMs)
    crashes++
    if (waitMs > 0) {
      const message = `back-off ${waitMs / 1000}s restarting failed container=${container.name}`
      state = { waiting: { reason: 'CrashLoopBackOff', message } }
    }
    timer = setTimeout(() => {
      restartCount++
      start()
    }, waitMs)
  }

  async function end(graceMs: number): Promise<void> {
    clearTimeout(timer)
    if (state.waiting) {
      state = lastState.terminated ? { terminated: lastState.terminated } : state
      return
    }
    const deadline = Date.now() + graceMs
    await preStop(container, options.process, graceMs)
    await terminate(child, exited, Math.max(deadline - Date.now(), 0))
  }

  return {
    status: () => ({
      name: container.name,
      image: container.image ?? '',
      imageID: '',
      ...(child?.pid === undefined ? {} : { containerID: `process://${child.pid}` }),
      ready: isReady,
      started: isStarted,
      restartCount,
      state,
      lastState,
    }),
    stop: (graceMs) => {
      if (stopping && graceMs === 0 && child?.pid !== undefined) killGroup(child.pid, 'SIGKILL')
      stopping ??= end(graceMs)
      return stopping
    },
  }
}

async function preStop(container: Container, process: Process, graceMs: number): Promise<void> {
  const hook = container.lifecycle?.preStop
  if (!hook) return
  const seconds = hook.sleep?.seconds
  if (seconds !== undefined) {
    await new Promise((resolve) => setTimeout(resolve, Math.min(seconds * 1000, graceMs)))
  } else if (hook.exec) {
    const [file = '', ...args] = process.resolve(hook.exec.command)
    const { cwd, env } = process
    const child = spawn(file, args, { cwd, env, stdio: 'ignore', timeout: graceMs, killSignal: 'SIGKILL' })
    await new Promise<void>((resolve) => {
      child.once('error', () => resolve())
      child.once('exit', () => resolve())
    })
  }
}

/** SIGTERM to the process itself, as to process 1 of a container; SIGKILL to all of its group when the time is over. */
async function terminate(child: ChildProcess | undefined, exited: Promise<void>, graceMs: number): Promise<void> {
  if (child?.pid === undefined) return
  if (graceMs > 0) child.kill('SIGTERM')
  const timer = setTimeout(() => killGroup(child.pid!, 'SIGKILL'), graceMs)
  await exited
  clearTimeout(timer)
}

function killGroup(group: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-group, signal)
  } catch {
    // The group has ended already.
  }
}
