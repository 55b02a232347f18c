// Makes the folder of the image: what the mesh's processes and the demo need at run time and nothing else. The code lies under
// `app/`, compiled beforehand; Node is the one that runs this script. The same sources make the same folder, byte for byte. The
// Dockerfile and the tests on a cluster both pack it.
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
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { measure, sha256Of } from './measure.ts'
import { programs } from './programs.ts'
import { billOf, type Lock, type LooseFile, production } from './sbom.ts'

const root = resolve(dirname(fileURLToPath(import.meta.url)), '../..')

/** Our own part; of the dependencies, package-lock.json knows which are for development alone. */
const own = [
  'package.json',
  'LICENSE',
  'agent',
  'controller',
  'scripts/demo',
  // For `weft install` out of the image.
  'manifests/base',
  'manifests/crds',
]

/** Types, source maps, texts and tests: a third of the dependencies, and no process reads them. LICENSE files stay. */
const unread = /\.(d\.[cm]?ts|map|md|markdown)$|[._]test\.[cm]?[jt]s$|^(test|tests|benchmarks|examples?|docs)(\/|$)/

const lock = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as Lock

/** Copies files and folders of the repository; a package's own packages come under their own names. */
function copyCode(app: string): void {
  for (const path of [...own, ...production(lock).keys()]) {
    const from = join(root, path)
    const filter = (source: string) => {
      const inside = relative(from, source)
      return !unread.test(inside) && !inside.split('/').includes('node_modules')
    }
    cpSync(from, join(app, path), { recursive: true, filter })
  }
}

/** Copies Node and the libraries that it loads: the image needs no other base. Gives what was copied. */
function copyNode(top: string): LooseFile[] {
  const libraries = execFileSync('ldd', [process.execPath], { encoding: 'utf8' }).match(/\/\S+/g) ?? []
  const files = libraries.map((library) => ({ path: library, sha256: sha256Of(library) }))
  for (const { path } of files) {
    mkdirSync(join(top, dirname(path)), { recursive: true })
    copyFileSync(path, join(top, path))
  }
  mkdirSync(join(top, 'usr/bin'), { recursive: true })
  copyFileSync(process.execPath, join(top, 'usr/bin/node'))
  return [...files, { path: '/usr/bin/node', sha256: sha256Of(process.execPath), version: process.versions.node }]
}

/** The little that libraries and tools look for besides. */
function writeSystem(top: string): void {
  mkdirSync(join(top, 'etc'))
  // /etc/hosts first, as everywhere.
  writeFileSync(join(top, 'etc/nsswitch.conf'), 'hosts: files dns\n')
  // Whoever asks for the name of user 65532 gets one.
  writeFileSync(join(top, 'etc/passwd'), 'weft:x:65532:65532:weft:/app:/sbin/nologin\n')
  writeFileSync(join(top, 'etc/group'), 'weft:x:65532:\n')
}

/**
 * What makes compiled code the same each time: strings are hashed with one seed, files are read one after the other, and no
 * collection of garbage leaves remains where V8 then writes objects with gaps. Code for any seed and size of heap is accepted.
 */
const steady = ['--random-seed=1', '--min-semi-space-size=512', '--max-semi-space-size=512']

/** Runs the programs once. Compiled code tells its file's path in stack traces, so it is made where it will lie. */
function compile(top: string): void {
  // As in manifests/base. Portable: any user finds it again.
  const cache = { NODE_COMPILE_CACHE: '/app/.compiled', NODE_COMPILE_CACHE_PORTABLE: '1' }
  const env = { PATH: process.env.PATH, UV_THREADPOOL_SIZE: '1', ...cache }
  const chroot = ['chroot', top, '/usr/bin/node', ...steady]
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

/** One time for everything: when a folder was made is no part of it. */
function settle(top: string): void {
  const seconds = Number(process.env['SOURCE_DATE_EPOCH'] ?? 0)
  for (const path of readdirSync(top, { recursive: true, encoding: 'utf8' }))
    utimesSync(join(top, path), seconds, seconds)
  utimesSync(top, seconds, seconds)
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
const files = copyNode(top)
writeSystem(top)
compile(top)
writeFileSync(join(top, 'app/sbom.cdx.json'), billOf(lock, files))
share(top)
// For programs that users exec: nothing of ours writes there, and with a read-only root nobody can.
mkdirSync(join(top, 'tmp'))
chmodSync(join(top, 'tmp'), 0o1777)
settle(top)
const { bytes, digest } = measure(top)
console.log(`${(bytes / 1e6).toFixed(1)} MB, sha256:${digest}`)
