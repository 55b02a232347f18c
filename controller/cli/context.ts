// What every command is given: the flags that all commands have, a way to print, and the cluster when it is wanted. The
// Kubernetes client is imported only then: it takes longer to load than most commands to run.

import type { Command } from 'commander'
import { InvalidArgumentError, Option } from 'commander'
import { duration, OptionError } from '../options.ts'
import type { ClusterOptions, OpenedCluster } from './cluster.ts'
import { Exit, exits } from './exits.ts'

export interface GlobalFlags extends ClusterOptions {
  namespace?: string
  allNamespaces?: boolean
  meshNamespace: string
  verbose?: boolean
}

/** Where text goes. */
export interface Output {
  /** Standard output. */
  print(text: string): void
  /** Standard error. */
  complain(text: string): void
  /** Asks a person; null where nobody sits at a terminal, and what the command says is meant. */
  ask: ((question: string) => Promise<string>) | null
}

export interface Context {
  /** What people type: `weft` or `kubectl weft`. */
  readonly name: string
  readonly program: Command
  globals(): GlobalFlags
  /** Writes to standard output. */
  print(text: string): void
  /** Writes a line for people to standard error: progress and warnings, which no pipe should see. */
  tell(line: string): void
  /** Lets the command end with an exit code other than 0. */
  end(exitCode: number): void
  exitCode(): number
  /**
   * Lets a person confirm what has been shown.
   * @param isMeant `--yes` was given
   * @throws Exit if it is not confirmed
   */
  confirm(question: string, isMeant: boolean): Promise<void>
  /** Opens the cluster, and closes it whatever happens. */
  withCluster<T>(run: (cluster: OpenedCluster) => Promise<T>): Promise<T>
}

/** Makes the context of a program whose global options are defined. */
export function contextOf(program: Command, { print, complain, ask }: Output): Context {
  let code: number = exits.ok
  const globals = () => program.opts<GlobalFlags>()
  return {
    name: program.name(),
    program,
    globals,
    print,
    tell: (line) => complain(`${line}\n`),
    end: (exitCode) => {
      code = exitCode
    },
    exitCode: () => code,
    async confirm(question, isMeant) {
      if (isMeant || ask === null) return
      const answer = await ask(`${question} [y/N] `)
      if (!/^y(es)?$/i.test(answer.trim())) throw new Exit(exits.failed, 'nothing was done')
    },
    async withCluster(run) {
      const { openConfigured } = await import('./cluster.ts')
      const cluster = openConfigured(globals())
      try {
        return await run(cluster)
      } finally {
        await cluster.api.close()
      }
    },
  }
}

/** Reads a duration from the command line, `0` included; milliseconds. */
function readDuration(text: string): number {
  try {
    return text === '0' ? 0 : duration(text)
  } catch (error) {
    if (error instanceof OptionError) throw new InvalidArgumentError(error.message)
    throw error
  }
}

/** The option `--wait`. @param usual what holds without it, as people write it */
export function waitOption(about: string, usual: string): Option {
  return new Option('--wait <duration>', about).argParser(readDuration).default(readDuration(usual), usual)
}

/** Collects an option that may be given several times. */
export function collect(value: string, before: string[] = []): string[] {
  return [...before, value]
}
