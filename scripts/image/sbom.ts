// The image's bill of materials, made from the lock file: every package of a production install, and the files that are no
// package (Node and its libraries). CycloneDX 1.6; the same image has the same text, so there is no date in it.

import { createHash } from 'node:crypto'

/** A package as package-lock.json has it. */
export interface LockedPackage {
  version: string
  integrity?: string
  license?: string
  dev?: boolean
  dependencies?: Record<string, string>
  optionalDependencies?: Record<string, string>
}

export interface Lock {
  name: string
  version: string
  packages: Record<string, LockedPackage>
}

/** A file that belongs to no package. */
export interface LooseFile {
  /** Where it lies in the image. */
  path: string
  sha256: string
  /** Of a program; libraries have none. */
  version?: string
}

interface Component {
  type: 'application' | 'library' | 'file'
  'bom-ref': string
  group?: string
  name: string
  version?: string
  hashes?: { alg: string; content: string }[]
  licenses?: ({ license: { id: string } } | { expression: string })[]
  purl?: string
}

/** Folders of the packages that a production install has, with what the lock file says of them. */
export function production({ packages }: Lock): Map<string, LockedPackage> {
  return new Map(Object.entries(packages).filter(([folder, { dev = false }]) => folder !== '' && !dev))
}

/** The bill as JSON text. */
export function billOf(lock: Lock, files: readonly LooseFile[]): string {
  const packages = production(lock)
  const root = lock.packages['']!
  const own: Component = {
    type: 'application',
    'bom-ref': `pkg:npm/${lock.name}@${lock.version}`,
    name: lock.name,
    version: lock.version,
    ...licensed(root.license),
    purl: `pkg:npm/${lock.name}@${lock.version}`,
  }
  // One version may lie in several folders.
  const byRef = new Map([...packages].map(([folder, each]) => [referenceOf(folder, each), componentOf(folder, each)]))
  const loose = files.map(fileComponent)
  const components = [...byRef.values(), ...loose].sort((a, b) => (a['bom-ref'] < b['bom-ref'] ? -1 : 1))
  const needs = new Map<string, Set<string>>([[own['bom-ref'], needed('', root, packages)]])
  for (const [folder, each] of packages) {
    const ref = referenceOf(folder, each)
    needs.set(ref, (needs.get(ref) ?? new Set()).union(needed(folder, each, packages)))
  }
  const node = loose.find(({ type }) => type === 'application')
  if (node !== undefined) needs.get(own['bom-ref'])!.add(node['bom-ref'])
  const dependencies = [...needs].sort().map(([ref, set]) => ({ ref, dependsOn: [...set].sort() }))
  const content = { metadata: { component: own }, components, dependencies }
  const serialNumber = `urn:uuid:${uuidOf(JSON.stringify(content))}`
  return `${JSON.stringify({ bomFormat: 'CycloneDX', specVersion: '1.6', serialNumber, version: 1, ...content }, null, 2)}\n`
}

/** `node_modules/a/node_modules/@b/c` → `@b/c`. */
function nameOf(folder: string): string {
  return folder.slice(folder.lastIndexOf('node_modules/') + 'node_modules/'.length)
}

function referenceOf(folder: string, { version }: LockedPackage): string {
  return `pkg:npm/${nameOf(folder).replace('@', '%40')}@${version}`
}

function componentOf(folder: string, locked: LockedPackage): Component {
  const [name = '', group] = nameOf(folder).split('/').reverse()
  const purl = referenceOf(folder, locked)
  return {
    type: 'library',
    'bom-ref': purl,
    ...(group === undefined ? {} : { group }),
    name,
    version: locked.version,
    hashes: (locked.integrity ?? '').split(' ').filter(Boolean).map(hashOf),
    ...licensed(locked.license),
    purl,
  }
}

/** `sha512-<base64>` → CycloneDX's name and hexadecimal digits. */
function hashOf(integrity: string): { alg: string; content: string } {
  const [, bits = '', base64 = ''] = /^sha(\d+)-(.+)$/.exec(integrity) ?? []
  return { alg: `SHA-${bits}`, content: Buffer.from(base64, 'base64').toString('hex') }
}

function licensed(license: string | undefined): Pick<Component, 'licenses'> {
  if (license === undefined) return {}
  return { licenses: [/^[\w.+-]+$/.test(license) ? { license: { id: license } } : { expression: license }] }
}

function fileComponent({ path, sha256, version }: LooseFile): Component {
  const hashes = [{ alg: 'SHA-256', content: sha256 }]
  if (version === undefined) return { type: 'file', 'bom-ref': `file:${path}`, name: path, hashes }
  const name = path.slice(path.lastIndexOf('/') + 1)
  const purl = `pkg:generic/${name}@${version}`
  return { type: 'application', 'bom-ref': purl, name, version, hashes, purl }
}

/** What a package's imports find, by Node's rule: the nearest node_modules folder on the way up. */
function needed(folder: string, locked: LockedPackage, packages: ReadonlyMap<string, LockedPackage>): Set<string> {
  const names = Object.keys({ ...locked.dependencies, ...locked.optionalDependencies })
  const found = names.flatMap((name) => {
    for (let at = folder; ; at = at.slice(0, Math.max(at.lastIndexOf('/node_modules/'), 0))) {
      const place = `${at === '' ? '' : `${at}/`}node_modules/${name}`
      const there = packages.get(place)
      if (there !== undefined) return [referenceOf(place, there)]
      if (at === '') return []
    }
  })
  return new Set(found)
}

/** A UUID (version 8, RFC 9562: the maker's own rule) from a text. */
function uuidOf(text: string): string {
  const bytes = createHash('sha256').update(text).digest().subarray(0, 16)
  bytes[6] = (bytes[6]! & 0x0f) | 0x80
  bytes[8] = (bytes[8]! & 0x3f) | 0x80
  return bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
}
