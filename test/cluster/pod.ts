// Calls from inside of pods: client.ts and other programs, sent there through `kubectl exec`. A load is tied to the exec that
// started it; a detached one goes on while the API server or the node's network is away.

import { readFileSync } from 'node:fs'
import { stripTypeScriptTypes } from 'node:module'
import { until } from '../support/until.ts'
import type { ClientOptions, ClientResult, Failure } from './client.ts'
import { kubectl, open, pods, run, text } from './kubectl.ts'
import type { StreamOptions, StreamResult } from './streams.ts'

/** A program of this folder as the JavaScript that pods can run. */
export function programOf(file: string): string {
  return stripTypeScriptTypes(readFileSync(new URL(file, import.meta.url), 'utf8'))
}

const program = programOf('client.ts')

/** A pod to work in. */
export interface Place {
  namespace: string
  pod: string
  node: string
}

/** A client at work. */
export interface Load<R = ClientResult> {
  /** Ends it; resolves with what happened. */
  stop(): Promise<R>
  /** Resolves when it has ended by itself. */
  ended(): Promise<R>
}

/** Name of a pod of one of the shop's services. */
export async function podOf(app: string): Promise<string> {
  const [pod] = await pods('shop', `app=${app}`)
  if (pod === undefined) throw new Error(`no pod of ${app}`)
  return pod.metadata.name
}

const node = (script: string, ...args: string[]) => ['node', '--input-type=module', '-e', script, ...args]

/** Starts a client in a pod of one of the shop's services, or in another one; resolves when it has its first answers. */
export async function startLoad(
  where: string | Place,
  options: Partial<ClientOptions> & { url: string },
): Promise<Load> {
  const settings: ClientOptions = { callers: 6, pauseMs: 8, ...options }
  const { namespace, pod } = typeof where === 'string' ? { namespace: 'shop', pod: await podOf(where) } : where
  const args = ['exec', '-i', '-n', namespace, pod, '--', ...node(program, JSON.stringify(settings))]
  const child = open('kubectl', args)
  const began = Promise.withResolvers<void>()
  child.stderr.once('data', () => began.resolve())
  const output = Promise.all([text(child.stdout), text(child.stderr)])
  const result = output.then(([out, errors]) => {
    began.resolve()
    const line = out.trim().split('\n').at(-1) ?? ''
    if (!line.startsWith('{')) throw new Error(`the client in ${pod} ended early: ${errors}${out}`)
    return JSON.parse(line) as ClientResult
  })
  result.catch(() => {})
  await began.promise
  return {
    stop: () => {
      child.stdin.end()
      return result
    },
    ended: () => result,
  }
}

let loads = 0

/** Starts a program of this folder in a pod, apart from the exec that starts it. Its files lie in the pod's /scratch. */
async function detach<R>({ namespace, pod }: Place, source: string, options: object): Promise<Load<R>> {
  const base = `/scratch/load-${process.pid}-${loads++}`
  const files = { stopFile: `${base}.stop`, resultFile: `${base}.json` }
  const script = `
    import { spawn } from 'node:child_process'
    import { openSync, readFileSync, writeFileSync } from 'node:fs'
    writeFileSync('${base}.mjs', readFileSync(0))
    const log = openSync('${base}.log', 'a')
    spawn(process.execPath, ['${base}.mjs', process.argv.at(-1)], { detached: true, stdio: ['ignore', log, log] }).unref()`
  const into = (...command: string[]) => ['exec', '-i', '-n', namespace, pod, '--', ...command]
  await kubectl(into(...node(script, JSON.stringify({ ...options, ...files }))), source)
  const read = (file: string) =>
    run(
      'kubectl',
      into(...node(`import { readFileSync } from 'node:fs'; console.log(readFileSync('${file}', 'utf8'))`)),
    )
  const ended = async () => {
    let said = ''
    const isThere = async () => {
      const { code, out } = await read(files.resultFile)
      said = out
      if (code !== 0) await new Promise((resolve) => setTimeout(resolve, 200))
      return code === 0
    }
    try {
      await until(isThere, `the result of a load in ${pod}`, 60_000)
    } catch (error) {
      throw new Error(`${(error as Error).message}: ${(await read(`${base}.log`)).out}`, { cause: error })
    }
    return JSON.parse(said) as R
  }
  return {
    ended,
    async stop() {
      await kubectl(into(...node(`import { writeFileSync } from 'node:fs'; writeFileSync('${files.stopFile}', '')`)))
      return ended()
    },
  }
}

/** Starts a client that neither the API server nor the network can take away. */
export function detachLoad(where: Place, options: Partial<ClientOptions> & { url: string }): Promise<Load> {
  return detach<ClientResult>(where, program, { callers: 6, pauseMs: 8, isPinned: true, ...options })
}

/** Starts TCP streams likewise. */
export function detachStreams(
  where: Place,
  options: Omit<StreamOptions, 'stopFile' | 'resultFile'>,
): Promise<Load<StreamResult>> {
  return detach<StreamResult>(where, programOf('streams.ts'), options)
}

/** Makes some requests from a pod, on one kept connection. */
export async function callFrom(
  where: string | Place,
  url: string,
  most = 1,
  options: Partial<ClientOptions> = {},
): Promise<ClientResult> {
  const load = await startLoad(where, { url, callers: 1, pauseMs: 0, most, keptOnly: true, ...options })
  return load.ended()
}

/** Runs a few lines of JavaScript in a pod; gives what they print. */
export async function evaluate(where: string | Place, script: string): Promise<string> {
  const { namespace, pod } = typeof where === 'string' ? { namespace: 'shop', pod: await podOf(where) } : where
  return (await kubectl(['exec', '-n', namespace, pod, '--', ...node(script)])).trim()
}

/** Failures as one text, for messages of assertions. */
export function failuresOf({ failures }: { failures: Failure[] }): string {
  return failures.map(({ start, at, what }) => `${new Date(start).toISOString()} +${at - start} ms ${what}`).join('\n')
}
