// Calls from inside of the shop's pods: client.ts, sent to a pod through `kubectl exec`.

import { readFileSync } from 'node:fs'
import { stripTypeScriptTypes } from 'node:module'
import type { ClientOptions, ClientResult } from './client.ts'
import { kubectl, open, pods, text } from './kubectl.ts'

const program = stripTypeScriptTypes(readFileSync(new URL('client.ts', import.meta.url), 'utf8'))

/** A client at work. */
export interface Load {
  /** Ends it; resolves with what happened. */
  stop(): Promise<ClientResult>
  /** Resolves when it has ended by itself. */
  ended(): Promise<ClientResult>
}

/** Name of a pod of one of the shop's services. */
export async function podOf(app: string): Promise<string> {
  const [pod] = await pods('shop', `app=${app}`)
  if (pod === undefined) throw new Error(`no pod of ${app}`)
  return pod.metadata.name
}

/** Starts a client in a pod of a service; resolves when it has its first answers. */
export async function startLoad(app: string, options: Partial<ClientOptions> & { url: string }): Promise<Load> {
  const settings: ClientOptions = { callers: 6, pauseMs: 8, ...options }
  const node = ['node', '--input-type=module', '-e', program, JSON.stringify(settings)]
  const child = open('kubectl', ['exec', '-i', '-n', 'shop', await podOf(app), '--', ...node])
  const began = Promise.withResolvers<void>()
  child.stderr.once('data', () => began.resolve())
  const output = Promise.all([text(child.stdout), text(child.stderr)])
  const result = output.then(([out, errors]) => {
    began.resolve()
    const line = out.trim().split('\n').at(-1) ?? ''
    if (!line.startsWith('{')) throw new Error(`the client in ${app} ended early: ${errors}${out}`)
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

/** Makes some requests from a pod of a service, on one kept connection. */
export async function callFrom(app: string, url: string, most = 1): Promise<ClientResult> {
  const load = await startLoad(app, { url, callers: 1, pauseMs: 0, most, keptOnly: true })
  return load.ended()
}

/** Runs a few lines of JavaScript in a pod of the shop; gives what they print. */
export async function evaluate(app: string, script: string): Promise<string> {
  const pod = await podOf(app)
  return (await kubectl(['exec', '-n', 'shop', pod, '--', 'node', '--input-type=module', '-e', script])).trim()
}

/** Failures as one text, for messages of assertions. */
export function failuresOf({ failures }: ClientResult): string {
  return failures.map(({ at, what }) => `${new Date(at).toISOString()} ${what}`).join('\n')
}
