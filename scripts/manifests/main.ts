// Writes the manifests that are made from others: manifests/weft.yaml, and the chart's copies of the SMI kinds. Their sources
// are what `kubectl apply -k manifests/base` takes.
// usage: node scripts/manifests/main.ts [--check]        --check: writes nothing, exit code 1 where something is out of date

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { root } from '../local/environment.ts'
import { outdated } from './made.ts'

const args = process.argv.slice(2)
if (args.some((arg) => arg !== '--check')) {
  console.error('usage: node scripts/manifests/main.ts [--check]')
  process.exit(64)
}
const read = (path: string) => readFileSync(join(root, path), 'utf8')
for (const [path, text] of outdated(read)) {
  if (args.length > 0) {
    console.error(`${path} is out of date: npm run manifests`)
    process.exitCode = 1
    continue
  }
  mkdirSync(dirname(join(root, path)), { recursive: true })
  writeFileSync(join(root, path), text)
  console.log(path)
}
