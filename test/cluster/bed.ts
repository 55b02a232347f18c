// Power over the nodes themselves, which no Kubernetes API gives: the command that WEFT_TESTBED names. README.md has the words
// that it must understand; without it, the tests that need it are listed as pending.

import type { Func } from 'mocha'
import { open, run, text } from './kubectl.ts'

const command = process.env['WEFT_TESTBED'] ?? ''

/** A test that needs power over nodes. */
export function itOnBed(title: string, test: Func | (() => Promise<void>)): void {
  if (command === '') it(`${title} (needs WEFT_TESTBED: see README.md)`)
  else it(title, test as Func)
}

/** A group of tests that need it, hooks included. */
export function describeOnBed(title: string, tests: (this: Mocha.Suite) => void): void {
  if (command === '') describe.skip(`${title} (needs WEFT_TESTBED: see README.md)`, tests)
  else describe(title, tests)
}

/** Says a word to the test bed; it must succeed. */
export async function bed(...words: string[]): Promise<string> {
  const { code, out, errors } = await run(command, words)
  if (code !== 0) throw new Error(`${command} ${words.join(' ')}: ${errors}${out}`)
  return out
}

/**
 * Captures all that a node sends to others and gets from them.
 * @returns ends it and gives the frames, one after the other, as latin1 text
 */
export async function capture(node: string): Promise<() => Promise<string>> {
  const child = open(command, ['capture', node])
  const errors = text(child.stderr)
  const chunks: Buffer[] = []
  const began = Promise.withResolvers<void>()
  child.stdout.on('data', (chunk: Buffer) => {
    chunks.push(chunk)
    began.resolve()
  })
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()))
  const failed = ended.then(async () => {
    throw new Error(`capture ended early: ${await errors}`)
  })
  failed.catch(() => {})
  await Promise.race([began.promise, failed])
  return async () => {
    child.stdin.end()
    await ended
    return Buffer.concat(chunks).toString('latin1')
  }
}
