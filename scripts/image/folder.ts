// Makes the folder of the image: what the mesh's processes and the demo need at run time and nothing else. The code lies under
// `app/`, compiled beforehand; Node is the one that runs this script. The Dockerfile and the tests on a cluster both pack it.
// usage: node scripts/image/folder.ts FOLDER        Needs Linux, and root or user namespaces for a chroot.

import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { programs } from './programs.ts'

const root = resolve(dirname(fileURLToPath(import.meta.url)), '../..')

/** Our own part; of the dependencies, package-lock.json knows which are for development alone. */
const own = ['package.json', 'LICENSE', 'agent', 'controller', 'scripts/demo']

/** Types, source maps and texts: a third of the dependencies, and no process reads them. LICENSE files stay. */
const unread = /\.(d\.[cm]?ts|map|md|markdown)$/

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
function copyCode(app: string): void {
  for (const path of [...own, ...dependencies()]) {
    const from = join(root, path)
    const filter = (source: string) => {
      const inside = relative(from, source)
      return !unread.test(inside) && !inside.split('/').includes('node_modules')
    }
    cpSync(from, join(app, path), { recursive: true, filter })
  }
}

/** Copies Node and the libraries that it loads: the image needs no other base. */
function copyNode(top: string): void {
  const libraries = execFileSync('ldd', [process.execPath], { encoding: 'utf8' }).match(/\/\S+/g) ?? []
  for (const library of libraries) {
    mkdirSync(join(top, dirname(library)), { recursive: true })
    copyFileSync(library, join(top, library))
  }
  mkdirSync(join(top, 'usr/bin'), { recursive: true })
  copyFileSync(process.execPath, join(top, 'usr/bin/node'))
  mkdirSync(join(top, 'etc'))
  // /etc/hosts first, as everywhere.
  writeFileSync(join(top, 'etc/nsswitch.conf'), 'hosts: files dns\n')
}

/** Runs the programs once. Compiled code tells its file's path in stack traces, so it is made where it will lie. */
function compile(top: string): void {
  // As in manifests/base. Portable: any user finds it again.
  const env = { PATH: process.env.PATH, NODE_COMPILE_CACHE: '/app/.compiled', NODE_COMPILE_CACHE_PORTABLE: '1' }
  const chroot = ['chroot', top, '/usr/bin/node']
  const [command = '', ...first] = process.getuid?.() === 0 ? chroot : ['unshare', '--map-root-user', ...chroot]
  for (const [file = '', ...args] of programs) {
    execFileSync(command, [...first, `/app/${file}`, ...args], { env, stdio: ['ignore', 'ignore', 'inherit'] })
  }
}

/** Node writes compiled code for its own user alone, and a clone is as private as its umask; pods run as another user. */
function share(top: string): void {
  chmodSync(top, 0o755)
  for (const entry of readdirSync(top, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name)
    const isProgram = entry.isDirectory() || relative(top, path).startsWith('usr/bin/') || /\.so(\.|$)/.test(path)
    if (!entry.isSymbolicLink()) chmodSync(path, isProgram ? 0o755 : 0o644)
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
const top = resolve(folder)
mkdirSync(join(top, 'app'), { recursive: true })
copyCode(join(top, 'app'))
copyNode(top)
compile(top)
share(top)
// For programs that users exec: nothing of ours writes there, and with a read-only root nobody can.
mkdirSync(join(top, 'tmp'))
chmodSync(join(top, 'tmp'), 0o1777)
