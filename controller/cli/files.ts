// `weft check -f`: manifests judged before they are applied.

import { readFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { messageOf } from '../errors.ts'
import type { KubeObject } from '../observe/objects.ts'
import type { World } from '../observe/world.ts'
import type { Problem } from '../resolve/problem.ts'
import type { Settings } from '../resolve/settings.ts'
import { type Fault, parseManifests } from '../validate/manifests.ts'
import { validate } from '../validate/validate.ts'
import { describeProblem } from './checks.ts'
import { Exit, exits } from './exits.ts'
import { type Format, printable } from './print.ts'

const standardInput = 0

export interface FileReport {
  faults: Fault[]
  problems: (Problem & { source: string })[]
  /** How many objects were judged or left alone. */
  objects: number
}

/**
 * Judges files; all of them together, as if they were applied at once.
 * @param files paths, `-` for standard input
 * @param namespace of objects that don't name theirs
 * @param cluster null: what is not in the files is not known
 * @throws Exit if a file can't be read
 */
export async function checkFiles(
  files: readonly string[],
  namespace: string,
  settings: Settings,
  cluster: World | null,
): Promise<FileReport> {
  const report: FileReport = { faults: [], problems: [], objects: 0 }
  const sources = new Map<string, string>()
  const objects: KubeObject[] = []
  for (const file of files) {
    const parsed = parseManifests(await read(file), file, namespace)
    report.faults.push(...parsed.faults)
    objects.push(...parsed.objects)
    for (const { kind, metadata } of parsed.objects)
      sources.set(`${kind} ${metadata.namespace ?? ''}/${metadata.name}`, file)
  }
  report.objects = objects.length
  report.problems = validate(objects, settings, cluster).map((problem) => {
    const { kind, namespace: own, name } = problem.object
    return { ...problem, source: sources.get(`${kind} ${own}/${name}`) ?? '' }
  })
  return report
}

async function read(file: string): Promise<string> {
  try {
    return file === '-' ? readFileSync(standardInput, 'utf8') : await readFile(file, 'utf8')
  } catch (error) {
    throw new Exit(exits.data, `${file} can't be read: ${messageOf(error)}`)
  }
}

/** The text for a report: a line for each finding, `file:line` first where there is one. */
export function formatReport({ faults, problems, objects }: FileReport, format: Format): string {
  if (format === 'json') return `${JSON.stringify({ objects, faults, problems }, null, 2)}\n`
  const lines = [
    ...faults.map(({ source, line, message }) => `× ${source}:${line}: ${message}`),
    ...problems.map(
      (problem) => `${problem.severity === 'error' ? '×' : '‼'} ${problem.source}: ${describeProblem(problem)}`,
    ),
  ]
  if (format !== 'short' && lines.length === 0)
    lines.push(`√ ${objects} ${objects === 1 ? 'object' : 'objects'}, no problems`)
  return lines.map((line) => `${printable(line)}\n`).join('')
}

/** How a report ends the command. */
export function exitOf({ faults, problems }: FileReport, failOn: 'warn' | 'error'): number {
  if (faults.length > 0) return exits.data
  const isBad = problems.some(({ severity }) => failOn === 'warn' || severity === 'error')
  return isBad ? exits.problems : exits.ok
}
