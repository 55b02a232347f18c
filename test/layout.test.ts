// Holds the tree to its layout: folders that read as the path of a request, who may import whom, and what every file owes
// to those who open it.

import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { basename, dirname, join, posix } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'

const root = fileURLToPath(new URL('..', import.meta.url))
const read = (path: string) => readFileSync(join(root, path), 'utf8')

/** What git ignores, and git itself. */
const foreign = new Set([
  '.git',
  ...read('.gitignore')
    .split('\n')
    .map((line) => line.replaceAll('/', '')),
])

/** All files of the project below a folder, as paths from its root. */
function filesBelow(folder: string): string[] {
  return readdirSync(join(root, folder), { withFileTypes: true })
    .filter(({ name }) => !foreign.has(name))
    .flatMap((entry) => {
      const path = posix.join(folder, entry.name)
      return entry.isDirectory() ? filesBelow(path) : [path]
    })
}

const files = filesBelow('.')
const sources = files.filter((path) => /\.[jt]s$/.test(path))
const step = (path: string) => basename(path, '.ts')
const steps = {
  outbound: ['accept', 'caller', 'destination', 'divide', 'endpoint', 'fuse', 'hop', 'relay', 'settle'],
  inbound: ['accept', 'caller', 'permit', 'relay', 'settle'],
}

interface Import {
  /** As it stands there. */
  readonly name: string
  /** The file in this tree, if it is one. */
  readonly file: string | undefined
  readonly isType: boolean
}

/** What a file imports, whether at its head or when it is needed. */
function importsOf(path: string): Import[] {
  const text = read(path)
  const found = [
    ...text.matchAll(/^import\s+(type\s)?(?:[^'"`;]*?\sfrom\s+)?['"]([^'"]+)['"]/gm),
    ...text.matchAll(/^export\s+(type\s)?(?:\*(?:\s+as\s+\w+)?|\{[^}]*\})\s+from\s+['"]([^'"]+)['"]/gm),
    ...[...text.matchAll(/\bimport\(\s*['"]([^'"]+)['"]\s*\)/g)].map(([all, name]) => [all, undefined, name]),
  ]
  return found.map(([, type, name = '']) => ({
    name,
    file: name.startsWith('.') ? posix.join(dirname(path), name) : undefined,
    isType: type !== undefined,
  }))
}

const imports = new Map(sources.map((path) => [path, importsOf(path)]))

/** Imports of a folder's files that break a rule, as `file imports name`. */
function breaches(folder: string, isBreach: (each: Import) => boolean): string[] {
  return [...imports]
    .filter(([path]) => path.startsWith(folder))
    .flatMap(([path, all]) => all.filter(isBreach).map(({ name }) => `${path} imports ${name}`))
}

/** The first cycle of imports that have an effect at run time, file by file; empty when there is none. */
function cycle(): string[] {
  const done = new Set<string>()
  const visit = (path: string, trail: readonly string[]): string[] => {
    if (trail.includes(path)) return [...trail.slice(trail.indexOf(path)), path]
    if (done.has(path)) return []
    for (const { file, isType } of imports.get(path) ?? []) {
      const found = file === undefined || isType ? [] : visit(file, [...trail, path])
      if (found.length > 0) return found
    }
    done.add(path)
    return []
  }
  for (const path of sources) {
    const found = visit(path, [])
    if (found.length > 0) return found
  }
  return []
}

describe('layout: the path of a request', () => {
  for (const [direction, names] of Object.entries(steps)) {
    const folder = `agent/${direction}`

    it(`${folder} reads in the order of the path`, () => {
      expect(readdirSync(join(root, folder)).map(step)).to.deep.equal(names)
    })

    it(`${folder}: agent/worker.ts says so, and each step is in use`, () => {
      expect(read('agent/worker.ts')).to.include(`// --- the ${direction} path: ${names.join(', ')}\n`)
      const used = new Set([...imports].filter(([path]) => path.startsWith('agent/')).flatMap(([, all]) => all))
      const unused = names.filter((name) => ![...used].some(({ file }) => file === `${folder}/${name}.ts`))
      expect(unused).to.deep.equal([])
    })

    it(`${folder}: the drawing in README.md says so`, () => {
      const drawing = read('README.md')
        .split('```')
        .find((block) => block.includes('outbound/') && block.includes('inbound/'))
      const box = drawing?.split('┌').find((part) => part.includes(` ${direction}/ `))
      expect([...(box ?? '').matchAll(/^ *│ ([a-z]+) {2}/gm)].map(([, name]) => name)).to.deep.equal(names)
    })
  }
})

describe('layout: who may import whom', () => {
  it('finds imports of all kinds', () => {
    const all = [...imports.values()].flat()
    expect(all.filter(({ isType }) => isType)).to.not.have.lengthOf(0)
    expect(all.filter(({ file }) => file === undefined)).to.not.have.lengthOf(0)
    const missing = all.filter(({ file }) => file !== undefined && !files.includes(file)).map(({ name }) => name)
    expect(missing).to.deep.equal([])
  })

  it('agent/ knows of the controller only what goes over the wire', () => {
    const isBreach = ({ file = '' }: Import) =>
      !file.startsWith('agent/') && !file.startsWith('controller/contract/') && file !== ''
    expect(breaches('agent/', isBreach)).to.deep.equal([])
    expect(breaches('agent/', ({ name }) => name.startsWith('@kubernetes/'))).to.deep.equal([])
  })

  it('controller/ knows nothing of the agent', () => {
    expect(breaches('controller/', ({ file = 'controller/' }) => !file.startsWith('controller/'))).to.deep.equal([])
  })

  it('controller/contract/ depends on nothing', () => {
    const isBreach = ({ name, file }: Import) =>
      !name.startsWith('node:') && file?.startsWith('controller/contract/') !== true
    expect(breaches('controller/contract/', isBreach)).to.deep.equal([])
  })

  it('agent/http1/ knows nothing of meshes', () => {
    const allowed = ['agent/http1/', 'agent/errors.ts', 'agent/clock.ts']
    const isBreach = ({ file }: Import) => file !== undefined && !allowed.some((each) => file.startsWith(each))
    expect(breaches('agent/http1/', isBreach)).to.deep.equal([])
  })

  it('nothing outside of test/ needs it', () => {
    expect(breaches('scripts/', ({ file }) => file?.startsWith('test/') === true)).to.deep.equal([])
  })

  it('there is no import cycle', () => {
    expect(cycle()).to.deep.equal([])
  })
})

describe('layout: files', () => {
  it('the top level is what is agreed and what tools demand there', () => {
    const tools = ['.ci', '.gitignore', '.mocharc.json', '.npmrc', 'LICENSE', 'biome.json', 'package-lock.json']
    const agreed = ['README.md', 'agent', 'controller', 'manifests', 'package.json', 'scripts', 'test', 'tsconfig.json']
    const there = readdirSync(root).filter((name) => !foreign.has(name))
    expect(there.filter((name) => ![...agreed, ...tools].includes(name))).to.deep.equal([])
    expect(agreed.filter((name) => !there.includes(name))).to.deep.equal([])
  })

  it('each begins by saying what it is for', () => {
    const silent = sources.filter((path) => !/^(#!.*\n)?\/\/ \S/.test(read(path)))
    expect(silent).to.deep.equal([])
  })

  it('none has more than 400 lines', () => {
    const long = sources.filter((path) => read(path).trimEnd().split('\n').length > 400)
    expect(long).to.deep.equal([])
  })

  it('names are one lower-case word', () => {
    const named = sources.filter((path) => !path.startsWith('test/')).map((path) => basename(path))
    expect(named.filter((name) => !/^[a-z][a-z0-9]*\.[jt]s$/.test(name))).to.deep.equal([])
  })

  it('exports have names', () => {
    const nameless = sources.filter((path) => /^export (default\b|\{[^}]*\bas default\b)/m.test(read(path)))
    expect(nameless).to.deep.equal([])
  })

  it('none names a registry, or a path of the machine it was written on', () => {
    const registry =
      /\bregistry\.(?:[\w-]+\.)+[a-z]{2,}\b|\b(?:docker|ghcr|gcr|quay)\.io\b|\b(?:npmjs|yarnpkg|pypi)\.(?:org|com)\b/
    const machine = /(?<![\w.])\/(?:home|root|Users|work)\/\w|\/tmp\/\w/
    expect(files.filter((path) => registry.test(read(path)))).to.deep.equal([])
    expect(files.filter((path) => machine.test(read(path)))).to.deep.equal([])
  })
})

describe('layout: texts', () => {
  const texts = files.filter((path) => path.endsWith('.md'))

  it('link to files that exist', () => {
    const broken = texts.flatMap((text) =>
      [...read(text).matchAll(/\]\((?!https?:)([^)#]+)/g)]
        .map(([, link = '']) => posix.join(dirname(text), link))
        .filter((target) => !existsSync(join(root, target)))
        .map((target) => `${text}: ${target}`),
    )
    expect(broken).to.deep.equal([])
  })

  it('name paths that exist', () => {
    const paths = /(?<![\w/.-])(?:agent|controller|manifests|scripts|test)\/[\w./-]*\w/g
    const wrong = texts.flatMap((text) =>
      [...read(text).matchAll(paths)].map(([path]) => path).filter((path) => !existsSync(join(root, path))),
    )
    expect(wrong).to.deep.equal([])
  })

  it('README.md quotes tests that exist', () => {
    const quotes = [...read('README.md').matchAll(/`(test\/[\w./-]+\.test\.ts)`: _([^_]+)_/g)]
    expect(quotes).to.not.have.lengthOf(0)
    const wrong = quotes.filter(([, path = '', title = '']) => !read(path).includes(title)).map(([quote]) => quote)
    expect(wrong).to.deep.equal([])
  })

  it('README.md names the scripts of package.json', () => {
    const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> }
    const named = new Set(
      [...read('README.md').matchAll(/\bnpm (?:run ([a-z:]+)|(start|test)\b)/g)].map(([, run, own]) => run ?? own),
    )
    expect([...named].toSorted()).to.deep.equal(Object.keys(scripts).toSorted())
  })

  it('every script of package.json starts something that exists', () => {
    const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> }
    const started = Object.values(scripts).flatMap((line) => /^node (\S+)/.exec(line)?.[1] ?? [])
    expect(started).to.not.have.lengthOf(0)
    expect(started.filter((path) => !files.includes(path))).to.deep.equal([])
  })
})
