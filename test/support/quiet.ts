// A log for tests: keeps its records instead of writing them.

import type { Log } from '../../agent/observe/log.ts'

export interface Entry {
  level: string
  message: string
  fields: Record<string, unknown>
}

export class QuietLog implements Log {
  readonly entries: Entry[] = []
  readonly error = this.#write('error')
  readonly warn = this.#write('warn')
  readonly info = this.#write('info')
  readonly debug = this.#write('debug')
  readonly trace = this.#write('trace')

  #write(level: string) {
    return (fields: Record<string, unknown>, message: string) => void this.entries.push({ level, message, fields })
  }

  /** Messages of one level. */
  messages(level: string): string[] {
    return this.entries.filter((entry) => entry.level === level).map((entry) => entry.message)
  }
}
