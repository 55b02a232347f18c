// The cluster under test, as KUBECONFIG names it: kubectl, and the few questions that the suites ask with it.

import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { once } from 'node:events'
import type { Readable, Writable } from 'node:stream'
import { until } from '../support/until.ts'

/** A JSON object of the API; tests look into it freely. */
// biome-ignore lint/suspicious/noExplicitAny: assertions on objects would otherwise be casts alone
export type Body = any

/** A program that was run to its end. */
export interface Ran {
  code: number
  out: string
  errors: string
}

/** Starts a program whose input and output the test holds. */
export function open(command: string, args: string[]): ChildProcessByStdio<Writable, Readable, Readable> {
  const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'] })
  // Whoever ends early doesn't read its input to the end.
  child.stdin.on('error', () => {})
  return child
}

/** Runs a program with an input; any exit code is an answer. */
export async function run(command: string, args: string[], input = ''): Promise<Ran> {
  const child = open(command, args)
  child.stdin.end(input)
  const closed = once(child, 'close') as Promise<[number]>
  const [out, errors] = await Promise.all([text(child.stdout), text(child.stderr)])
  const [code] = await closed
  return { code, out, errors }
}

/** All that a stream says. */
export async function text(stream: Readable): Promise<string> {
  let all = ''
  for await (const part of stream.setEncoding('utf8')) all += part
  return all
}

/**
 * Runs kubectl.
 * @returns its output
 * @throws Error with what it says, if it fails
 */
export async function kubectl(args: string[], input = ''): Promise<string> {
  const { code, out, errors } = await run('kubectl', args, input)
  if (code !== 0) throw new Error(`kubectl ${args.join(' ')}: ${errors}${out}`)
  return out
}

/** Applies objects; `errors` has what kubectl warns of. */
export async function apply(...objects: object[]): Promise<Ran> {
  const list = { apiVersion: 'v1', kind: 'List', items: objects }
  const ran = await run('kubectl', ['apply', '-f', '-'], JSON.stringify(list))
  if (ran.code !== 0) throw new Error(`kubectl apply: ${ran.errors}`)
  return ran
}

/** Objects of a kind, by labels or whatever else `args` says. */
export async function list(namespace: string, kind: string, ...args: string[]): Promise<Body[]> {
  return JSON.parse(await kubectl(['get', kind, '-n', namespace, '-o', 'json', ...args])).items
}

/** Pods of a namespace with a label that are not on their way out. */
export async function pods(namespace: string, label: string): Promise<Body[]> {
  const all = await list(namespace, 'pods', '-l', label)
  return all.filter(({ metadata }) => metadata.deletionTimestamp === undefined)
}

/** Resolves when a workload is as it should be. */
export async function rolledOut(namespace: string, workload: string): Promise<void> {
  await kubectl(['rollout', 'status', workload, '-n', namespace, '--timeout=120s'])
}

/** Resolves when no pod with a label is left, those that end included. */
export async function gone(namespace: string, label: string, names: string[]): Promise<void> {
  const left = async () => {
    const found: string[] = (await list(namespace, 'pods', '-l', label)).map(({ metadata }) => metadata.name)
    return found.some((name) => names.includes(name))
  }
  await until(async () => !(await left()), `the end of ${names.join(', ')}`, 90_000)
}

/** Runs the mesh's own tool against the cluster. */
export function weft(...args: string[]): Promise<Ran> {
  const script = new URL('../../controller/cli/main.ts', import.meta.url).pathname
  return run(process.execPath, [script, ...args])
}
