// How the command line tool ends: 0 and 1 as everywhere, the others as sysexits.h and istioctl have them.

import { ApiError } from '../errors.ts'

export const exits = {
  ok: 0,
  /** A check failed, or something went wrong that nobody foresaw. */
  failed: 1,
  usage: 64,
  /** A manifest that can't be read. */
  data: 65,
  /** The cluster can't be reached. */
  unavailable: 69,
  /** The configuration has problems. */
  problems: 79,
  interrupted: 130,
} as const

/** Ends the command with an exit code and one line for standard error. */
export class Exit extends Error {
  override name = 'Exit'
  readonly exitCode: number

  constructor(exitCode: number, message: string) {
    super(message)
    this.exitCode = exitCode
  }
}

/** Whether an error says that the cluster can't be reached at all. */
export function isUnreachable(error: unknown): boolean {
  return error instanceof ApiError && error.status === 0
}
