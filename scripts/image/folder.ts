// Makes the folder of the image: what the mesh's processes and the demo need at run time and nothing else, under `app/`, with
// the code compiled beforehand by the Node that runs this script. The Dockerfile and the tests on a cluster both pack it.
// usage: node scripts/image/folder.ts FOLDER

import { execFileSync } from 'node:child_process'
import { chmodSync, cpSync, existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = resolve(dirname(fileURLToPath(import.meta.url)), '../..')

/** Our own part; of the dependencies, package-lock.json knows which are for development alone. */
const own = ['package.json', 'LICENSE', 'agent', 'controller', 'scripts/demo']

/** Types, source maps and texts: a third of the dependencies, and no process reads them. LICENSE files stay. */
const unread = /\.(d\.[cm]?ts|map|md|markdown)$/

/** Where manifests/base tells Node to look for compiled code, under `app/`. */
const compiled = '.compiled'

/** Loads all of the code that runs in pods, without starting any of it. */
const programs = [
  ['agent/main.ts', '--help'],
  ['agent/worker.ts'],
  ['controller/main.ts', '--help'],
  ['controller/cli/main.ts', '--help'],
]

interface Lock {
  packages: Record<string, { dev?: boolean }>
}

/** Folders of the packages that a production install would have. */
function dependencies(): string[] {
  const { packages } = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as Lock
  return Object.entries(packages)
    .filter(([folder, { dev = false }]) => folder !== '' && !dev)
    .map(([folder]) => folder)
}

/** Copies files and folders of the repository; a package's own packages come under their own names. */
function copy(app: string, paths: string[]): void {
  for (const path of paths) {
    const from = join(root, path)
    const filter = (source: string) => {
      const inside = relative(from, source)
      return !unread.test(inside) && !inside.split('/').includes('node_modules')
    }
    cpSync(from, join(app, path), { recursive: true, filter })
  }
}

/** Runs the programs once: V8 parses nothing twice, and a process at rest is a quarter smaller for it. */
function compile(app: string): void {
  // Portable: found again where the folder's name is another one, and by another user.
  const env = { NODE_COMPILE_CACHE: join(app, compiled), NODE_COMPILE_CACHE_PORTABLE: '1' }
  for (const args of programs) {
    execFileSync(process.execPath, args, { cwd: app, env, stdio: ['ignore', 'ignore', 'inherit'] })
  }
}

/** Node writes compiled code for its own user alone, and a clone is as private as its umask; pods run as another user. */
function share(top: string): void {
  chmodSync(top, 0o755)
  for (const entry of readdirSync(top, { recursive: true, withFileTypes: true })) {
    if (!entry.isSymbolicLink()) chmodSync(join(entry.parentPath, entry.name), entry.isDirectory() ? 0o755 : 0o644)
  }
}

const [folder] = process.argv.slice(2)
if (folder === undefined || process.argv.length !== 3) {
  console.error('usage: node scripts/image/folder.ts FOLDER')
  process.exit(64)
}
if (existsSync(folder) && readdirSync(folder).length > 0) {
  console.error(`${folder} is not empty: name a new folder, so that nothing old gets into the image`)
  process.exit(1)
}
const app = join(resolve(folder), 'app')
mkdirSync(app, { recursive: true })
copy(app, [...own, ...dependencies()])
compile(app)
share(app)
