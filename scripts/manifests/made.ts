// What is made from manifests/base, as texts: one file for `kubectl apply -f`, and the kinds for the Helm chart. Comments stay.

import { join } from 'node:path'
import { parse } from 'yaml'

/** Reads a file of the repository by its path from there. */
export type Read = (path: string) => string

const header = `# All of Weft in one file, made from manifests/base by \`npm run manifests\`: change it there.
#   kubectl apply -f manifests/weft.yaml
`

/** The files behind a kustomization that has nothing but resources, in their order. */
function filesOf(folder: string, read: Read): string[] {
  const { resources = [] } = parse(read(join(folder, 'kustomization.yaml'))) as { resources?: string[] }
  return resources.flatMap((resource) => {
    const path = join(folder, resource)
    return path.endsWith('.yaml') ? [path] : filesOf(path, read)
  })
}

/** Every made file: its path and what it has to say. */
export function made(read: Read): Map<string, string> {
  const files = filesOf('manifests/base', read)
  const whole = [header, ...files.map(read)].join('---\n')
  const kinds = filesOf('manifests/crds', read).map((path) => {
    const copy = path.replace('manifests/crds/', 'manifests/chart/crds/')
    return [copy, `# Made from ${path} by \`npm run manifests\`: change it there.\n${read(path)}`] as const
  })
  return new Map([['manifests/weft.yaml', whole], ...kinds])
}

/** Those of them that are missing or say something else. */
export function outdated(read: Read): Map<string, string> {
  const isCurrent = (path: string, text: string) => {
    try {
      return read(path) === text
    } catch {
      return false
    }
  }
  return new Map([...made(read)].filter(([path, text]) => !isCurrent(path, text)))
}
