// The manifests that come with the tool, as objects. The base is read directly, since it is plain resources; overlays are
// built by kubectl, which knows all of kustomize.

import { execFile } from 'node:child_process'
import { existsSync, readFileSync, statSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { parse, parseAllDocuments, stringify } from 'yaml'
import { messageOf } from '../../errors.ts'
import { Exit, exits } from '../exits.ts'

/** An object as it stands in a manifest. */
export interface Manifest {
  apiVersion: string
  kind: string
  metadata: {
    name: string
    namespace?: string
    labels?: Record<string, string>
    annotations?: Record<string, string>
    [field: string]: unknown
  }
  // biome-ignore lint/suspicious/noExplicitAny: manifests of any kind; values.ts looks into those that it knows
  spec?: any
  [field: string]: unknown
}

const folder = fileURLToPath(new URL('../../../manifests/', import.meta.url))

/**
 * Reads what is to be installed.
 * @param overlay a name in manifests/overlays, a folder with a kustomization, or undefined: the base
 * @throws Exit if it can't be read
 */
export async function readManifests(overlay: string | undefined): Promise<Manifest[]> {
  if (overlay === undefined) return readFolder(join(folder, 'base'))
  const named = join(folder, 'overlays', overlay)
  return build(/^[a-z0-9-]+$/.test(overlay) && existsSync(named) ? named : resolve(overlay))
}

/** The SMI kinds alone. */
export function readDefinitions(): Manifest[] {
  return readFolder(join(folder, 'crds'))
}

/** Objects of a YAML text. */
export function parseObjects(text: string): Manifest[] {
  return parseAllDocuments(text)
    .map((document) => document.toJS() as Manifest | null)
    .filter((object) => object !== null)
}

/** YAML of objects, as `kubectl apply -f -` takes it. */
export function printObjects(objects: readonly Manifest[]): string {
  return objects.map((object) => stringify(object, { lineWidth: 0 })).join('---\n')
}

function readFolder(path: string): Manifest[] {
  try {
    if (!statSync(path).isDirectory()) return parseObjects(readFileSync(path, 'utf8'))
    const file = join(path, 'kustomization.yaml')
    const {
      apiVersion: _,
      kind: __,
      resources = [],
      ...rest
    } = parse(readFileSync(file, 'utf8')) as {
      apiVersion: string
      kind: string
      resources?: string[]
    }
    const [unknown] = Object.keys(rest)
    if (unknown !== undefined) throw new Exit(exits.data, `${file}: ${unknown} is not understood; use --overlay`)
    return resources.flatMap((each) => readFolder(resolve(dirname(file), each)))
  } catch (error) {
    if (error instanceof Exit) throw error
    throw new Exit(exits.data, `the manifests can't be read: ${messageOf(error)}`)
  }
}

async function build(path: string): Promise<Manifest[]> {
  try {
    const { stdout } = await promisify(execFile)('kubectl', ['kustomize', path], { maxBuffer: 64 << 20 })
    return parseObjects(stdout)
  } catch (error) {
    const { code, stderr } = error as { code?: string; stderr?: string }
    const why =
      code === 'ENOENT' ? 'kubectl, which builds overlays, was not found' : (stderr ?? messageOf(error)).trim()
    throw new Exit(exits.data, `the overlay ${path} can't be built: ${why}`)
  }
}
