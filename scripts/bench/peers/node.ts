// The proxy that one would write first in Node, as a peer: node:http in front, undici behind (proxy.ts, in a process of its own).

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { freePort } from '../ports.ts'
import { launch, listening } from '../process.ts'
import type { Contender } from '../setting.ts'

const script = fileURLToPath(new URL('proxy.ts', import.meta.url))

export const node: Contender = {
  name: 'node',
  find: () => ({ version: `node ${process.version}` }),
  async start(setting) {
    const port = await freePort()
    const file = join(setting.directory, 'node.json')
    writeFileSync(
      file,
      JSON.stringify({ port, origin: setting.origin, services: setting.services, observed: setting.observed }),
    )
    const child = launch('node', [process.execPath, script, file], {
      cores: setting.cores,
      output: join(setting.directory, 'node-access.log'),
    })
    await listening(child, '127.0.0.1', port)
    return { address: '127.0.0.1', port, children: [child], stop: () => child.stop() }
  },
}
