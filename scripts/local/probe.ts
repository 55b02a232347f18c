// The probes of a container, as the kubelet runs them: from the node's address, with period, time-out and thresholds.

import { spawn } from 'node:child_process'
import http from 'node:http'
import net from 'node:net'
import type { Probe } from './objects.ts'

/** What a probe is run against. */
export interface ProbeTarget {
  /** The pod's address. */
  address: string
  /** The node's address, which the probe comes from. */
  from: string
  /** Container ports by name. */
  ports: ReadonlyMap<string, number>
  /** Runs a command as the container would, for exec probes. */
  exec: { cwd: string; env: NodeJS.ProcessEnv; resolve(command: string[]): string[] }
}

/** The outcome of one attempt: undefined for success, else what went wrong. */
type Failure = string | undefined

/** Runs one attempt; never throws. */
export function attempt(probe: Probe, target: ProbeTarget): Promise<Failure> {
  const timeoutMs = (probe.timeoutSeconds ?? 1) * 1000
  if (probe.httpGet) return httpGet(probe.httpGet, target, timeoutMs)
  if (probe.tcpSocket) return tcpSocket(probe.tcpSocket, target, timeoutMs)
  if (probe.exec) return exec(probe.exec.command, target, timeoutMs)
  return Promise.resolve('the probe has no handler: state httpGet, tcpSocket or exec')
}

/**
 * Repeats a probe until stopped.
 * @param report told when the thresholds decide, each time: true for success, else false with the last failure
 * @returns stops it
 */
export function repeat(
  probe: Probe,
  target: ProbeTarget,
  report: (succeeded: boolean, failure: string) => void,
): () => void {
  const periodMs = (probe.periodSeconds ?? 10) * 1000
  let stopped = false
  let successes = 0
  let failures = 0
  const run = async () => {
    const failure = await attempt(probe, target)
    if (stopped) return
    successes = failure === undefined ? successes + 1 : 0
    failures = failure === undefined ? 0 : failures + 1
    timer = setTimeout(run, periodMs)
    if (successes >= (probe.successThreshold ?? 1)) report(true, '')
    else if (failures >= (probe.failureThreshold ?? 3)) report(false, failure ?? '')
  }
  let timer = setTimeout(run, (probe.initialDelaySeconds ?? 0) * 1000)
  return () => {
    stopped = true
    clearTimeout(timer)
  }
}

function portOf(port: number | string, target: ProbeTarget): number {
  return typeof port === 'number' ? port : (target.ports.get(port) ?? Number(port))
}

function httpGet(get: NonNullable<Probe['httpGet']>, target: ProbeTarget, timeoutMs: number): Promise<Failure> {
  if (get.scheme === 'HTTPS') return Promise.resolve('local mode probes by HTTP only')
  return new Promise((resolve) => {
    const request = http.get({
      host: get.host ?? target.address,
      port: portOf(get.port, target),
      path: get.path ?? '/',
      localAddress: target.from,
      agent: false,
      headers: {
        'user-agent': 'kube-probe/local',
        ...Object.fromEntries((get.httpHeaders ?? []).map(({ name, value }) => [name, value])),
      },
    })
    const timer = setTimeout(() => request.destroy(new Error('timed out')), timeoutMs)
    request.on('response', (response) => {
      clearTimeout(timer)
      response.resume()
      response.on('error', () => {})
      const { statusCode = 0 } = response
      resolve(statusCode >= 200 && statusCode < 400 ? undefined : `HTTP probe failed with statuscode: ${statusCode}`)
    })
    request.on('error', (error) => {
      clearTimeout(timer)
      resolve(error.message)
    })
  })
}

function tcpSocket(
  { port, host }: NonNullable<Probe['tcpSocket']>,
  target: ProbeTarget,
  timeoutMs: number,
): Promise<Failure> {
  return new Promise((resolve) => {
    const options = { host: host ?? target.address, port: portOf(port, target), localAddress: target.from }
    const socket = net.connect(options)
    const timer = setTimeout(() => socket.destroy(new Error('timed out')), timeoutMs)
    socket.on('connect', () => {
      socket.destroy()
      resolve(undefined)
    })
    socket.on('error', (error) => resolve(error.message))
    socket.on('close', () => clearTimeout(timer))
  })
}

function exec(command: string[], target: ProbeTarget, timeoutMs: number): Promise<Failure> {
  const [file = '', ...args] = target.exec.resolve(command)
  const { cwd, env } = target.exec
  return new Promise((resolve) => {
    const child = spawn(file, args, { cwd, env, stdio: 'ignore', timeout: timeoutMs, killSignal: 'SIGKILL' })
    child.on('error', (error) => resolve(error.message))
    child.on('exit', (code, signal) => resolve(code === 0 ? undefined : `command ended with ${signal ?? code}`))
  })
}
