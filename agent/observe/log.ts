// The log: JSON lines on standard error, by pino, on the control thread alone. Data threads send their records there.
// Messages are constant texts, what varies is a field.

import type { Logger } from 'pino'
import type { LogLevel } from '../config.ts'
import type { LogRecord, Post } from '../mesh/thread.ts'

type Write = (fields: Record<string, unknown>, message: string) => void

export interface Log {
  readonly error: Write
  readonly warn: Write
  readonly info: Write
  readonly debug: Write
  readonly trace: Write
}

/** The control thread's log, whose level can be changed and which takes the records of the data threads. */
export interface ControlLog extends Log {
  level(): LogLevel
  setLevel(level: LogLevel): void
  /** Writes a data thread's record. */
  relay(thread: number, record: LogRecord): void
}

/** An error as fields of a record. */
export function errorFields(error: unknown): Record<string, unknown> {
  if (!(error instanceof Error)) return { error: String(error) }
  const code = (error as NodeJS.ErrnoException).code
  const cause = error.cause === undefined ? {} : { cause: errorFields(error.cause) }
  return { error: error.message, ...(code === undefined ? {} : { code }), stack: error.stack, ...cause }
}

/** Wraps a pino logger. */
export function controlLog(logger: Logger): ControlLog {
  return {
    error: (fields, message) => logger.error(fields, message),
    warn: (fields, message) => logger.warn(fields, message),
    info: (fields, message) => logger.info(fields, message),
    debug: (fields, message) => logger.debug(fields, message),
    trace: (fields, message) => logger.trace(fields, message),
    level: () => logger.level as LogLevel,
    setLevel: (level) => {
      logger.level = level
    },
    relay: (thread, record) => logger[record.level]({ thread, ...record.fields }, record.message),
  }
}

const severity: Record<LogLevel, number> = { error: 0, warn: 1, info: 2, debug: 3, trace: 4 }

/** A data thread's log. */
export interface ThreadLog extends Log {
  setLevel(level: LogLevel): void
}

/** Makes a data thread's log: it filters by level and posts the rest. pino would cost each thread megabytes. */
export function threadLog(post: Post, level: LogLevel): ThreadLog {
  let most = severity[level]
  const write =
    (level: LogLevel): Write =>
    (fields, message) => {
      if (severity[level] <= most) post({ type: 'log', level, fields, message })
    }
  return {
    error: write('error'),
    warn: write('warn'),
    info: write('info'),
    debug: write('debug'),
    trace: write('trace'),
    setLevel: (level) => {
      most = severity[level]
    },
  }
}
