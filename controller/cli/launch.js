#!/usr/bin/env node
// What `weft` and `kubectl weft` run. Plain JavaScript, so that a Node too old for the rest can still say so, and so that the
// tool also runs from a node_modules folder, where Node takes no TypeScript by itself.

const [major, minor] = process.versions.node.split('.').map(Number)
if (major < 22 || (major === 22 && minor < 19)) {
  console.error(
    `weft: Node 22.19 or newer is needed and this is ${process.versions.node}; run it as npx weft from the project's folder after npm ci, which brings the right one, or install a newer Node`,
  )
  process.exit(1)
}

// That Node reads TypeScript is still called an experiment; whoever runs the tool can do nothing with that.
const { emitWarning } = process
process.emitWarning = (warning, ...rest) => {
  if (!/type ?stripping|stripTypeScriptTypes/i.test(String(warning)))
    Reflect.apply(emitWarning, process, [warning, ...rest])
}

const own = new URL('../', import.meta.url).href
if (own.includes('/node_modules/')) {
  const { readFileSync } = await import('node:fs')
  const { registerHooks, stripTypeScriptTypes } = await import('node:module')
  registerHooks({
    load(url, context, next) {
      if (!url.startsWith(own) || !url.endsWith('.ts')) return next(url, context)
      const source = stripTypeScriptTypes(readFileSync(new URL(url), 'utf8'))
      return { format: 'module', shortCircuit: true, source }
    },
  })
}
await import('./main.ts')
