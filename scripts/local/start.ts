// `npm start`: a whole mesh with a demo on this machine, until Ctrl-C.

import { once } from 'node:events'
import { join, resolve } from 'node:path'
import { Command, InvalidArgumentError } from 'commander'
import { root } from './environment.ts'
import { guide } from './guide.ts'
import { StartError } from './machine.ts'
import { startLocalMesh } from './mesh.ts'

interface Flags {
  nodes: number
  port: number
  dataThreads: number
  proxyDelay: number
  mesh: boolean
  demo: boolean
  folder: string
  offset: number
  quiet: boolean
}

function whole(least: number, most: number): (text: string) => number {
  return (text) => {
    const value = Number(text)
    if (Number.isInteger(value) && value >= least && value <= most) return value
    throw new InvalidArgumentError(`a whole number from ${least} to ${most} is wanted.`)
  }
}

const command = new Command('npm start --')
  .description('Runs a whole mesh and a demo shop on loopback addresses of this machine, until Ctrl-C.')
  .option('--nodes <number>', 'nodes, each with an agent', whole(1, 9), 3)
  .option('--port <number>', 'port of the API on 127.0.0.1; 0: any', whole(0, 65_535), 16_443)
  .option('--data-threads <number>', 'data threads of each agent', whole(1, 64), 1)
  .option('--proxy-delay <seconds>', 'how long kube-proxy takes to follow changes', whole(0, 5), 1)
  .option('--no-mesh', 'without the mesh: nodes and the demo alone, whose mesh names then lead nowhere')
  .option('--no-demo', 'without the demo shop')
  .option('--folder <path>', 'where kubeconfig and logs are kept', join(root, '.weft'))
  .option('--offset <number>', 'for a second mesh: added to the second number of all addresses', whole(0, 51), 0)
  .option('--quiet', 'no progress, only what to do next', false)
  .allowExcessArguments(false)

/** Ends with the first signal that asks us to. */
const interruption = new AbortController()

async function main(): Promise<void> {
  const flags = command.parse().opts<Flags>()
  const began = Date.now()
  const progress = (line: string) => {
    if (!flags.quiet) console.log(`${((Date.now() - began) / 1000).toFixed(1).padStart(5)} s  ${line}`)
  }
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      // The second one is from somebody in a hurry: the reaper ends the children when we are gone.
      if (interruption.signal.aborted) process.exit(130)
      console.log('\nending all processes (Ctrl-C again: at once)')
      interruption.abort()
    })
  }
  const mesh = await startLocalMesh({
    folder: resolve(flags.folder),
    offset: flags.offset,
    mesh: flags.mesh,
    nodes: flags.nodes,
    apiPort: flags.port,
    dataThreads: flags.dataThreads,
    proxyDelayMs: flags.proxyDelay * 1000,
    demo: flags.demo,
    progress,
    signal: interruption.signal,
  })
  console.log(guide(mesh, { hasDemo: flags.demo && flags.mesh, seconds: (Date.now() - began) / 1000 }))
  if (!interruption.signal.aborted) await once(interruption.signal, 'abort')
  await mesh.stop()
}

main().then(
  () => process.exit(0),
  (error: unknown) => {
    if (interruption.signal.aborted) process.exit(130)
    console.error(error instanceof StartError ? `npm start: ${error.message}` : error)
    process.exit(1)
  },
)
