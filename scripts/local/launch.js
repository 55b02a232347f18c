// What `npm start` runs. Plain JavaScript, so that a Node too old for the rest can still say so.

const least = 26
const [major] = process.versions.node.split('.').map(Number)
if (major < least) {
  console.error(
    `npm start: Node ${least} is needed and this is ${process.versions.node}; run it by npm, after npm ci, which brings the right one`,
  )
  process.exit(1)
}
await import('./start.ts')
