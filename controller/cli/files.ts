// `weft validate` and `weft check -f`: manifests judged before they are applied, with the file and line of each finding.

import { readFileSync } from 'node:fs'
import { readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { messageOf } from '../errors.ts'
import type { KubeObject } from '../observe/objects.ts'
import type { World } from '../observe/world.ts'
import type { Problem } from '../resolve/problem.ts'
import type { Settings } from '../resolve/settings.ts'
import { type Fault, type Place, parseManifests } from '../validate/manifests.ts'
import { judge } from '../validate/validate.ts'
import { describeProblem } from './checks/problems.ts'
import { Exit, exits } from './exits.ts'
import { type Format, printable } from './print.ts'

const standardInput = 0
/** What kubectl takes from a folder. */
const manifestName = /\.(json|ya?ml)$/

/** A problem, and where the field stands that it is about. */
export type Finding = Problem & { source: string; line: number }

export interface FileReport {
  faults: Fault[]
  problems: Finding[]
  /** How many objects were judged or left alone. */
  objects: number
}

export interface FileOptions {
  /** Files, folders, and `-` for standard input. */
  files: readonly string[]
  /** Folders with the folders in them. */
  isRecursive: boolean
  /** Of objects that don't name theirs. */
  namespace: string
  settings: Settings
  /** null: what is not in the files is not known. */
  cluster: World | null
}

/**
 * Judges files; all of them together, as if they were applied at once.
 * @throws Exit if a file can't be read
 */
export async function checkFiles(options: FileOptions): Promise<FileReport> {
  const report: FileReport = { faults: [], problems: [], objects: 0 }
  const places = new Map<KubeObject, Place>()
  for (const file of await listFiles(options.files, options.isRecursive)) {
    const parsed = parseManifests(await read(file), file, options.namespace)
    report.faults.push(...parsed.faults)
    for (const [object, place] of parsed.places) places.set(object, place)
  }
  report.objects = places.size
  for (const { object, problems } of judge([...places.keys()], options.settings, options.cluster)) {
    const { source, line } = places.get(object)!
    report.problems.push(...problems.map((problem) => ({ ...problem, source, line: line(problem.field) })))
  }
  return report
}

/** Replaces folders by the manifests in them, in the order of their names. */
async function listFiles(paths: readonly string[], isRecursive: boolean): Promise<string[]> {
  const lists = paths.map(async (path) => {
    if (path === '-' || !(await isFolder(path))) return [path]
    const files = await listFolder(path, isRecursive)
    if (files.length === 0) throw new Exit(exits.data, `${path} has no files that end in .yaml, .yml or .json`)
    return files
  })
  return (await Promise.all(lists)).flat()
}

async function isFolder(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory()
  } catch (error) {
    throw new Exit(exits.data, `${path} can't be read: ${messageOf(error)}`)
  }
}

async function listFolder(folder: string, isRecursive: boolean): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true })
  const lists = entries
    .toSorted((a, b) => (a.name < b.name ? -1 : 1))
    .map(async (entry) => {
      const path = join(folder, entry.name)
      if (entry.isDirectory()) return isRecursive ? listFolder(path, true) : []
      return manifestName.test(entry.name) ? [path] : []
    })
  return (await Promise.all(lists)).flat()
}

async function read(file: string): Promise<string> {
  try {
    return file === '-' ? readFileSync(standardInput, 'utf8') : await readFile(file, 'utf8')
  } catch (error) {
    throw new Exit(exits.data, `${file} can't be read: ${messageOf(error)}`)
  }
}

/** The text for a report: a line for each finding, with `file:line` as editors and terminals understand it. */
export function formatReport({ faults, problems, objects }: FileReport, format: Format | 'text'): string {
  if (format === 'json') return `${JSON.stringify({ objects, faults, problems }, null, 2)}\n`
  const lines = [
    ...faults.map(({ source, line, message }) => `× ${source}:${line}: ${message}`),
    ...problems.map((problem) => {
      const mark = problem.severity === 'error' ? '×' : '‼'
      return `${mark} ${problem.source}:${problem.line}: ${describeProblem(problem)}`
    }),
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
