// What answers behind the proxies: nginx with one worker where it is installed, else a raw Node server that does as little.

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { runNginx } from './peers/nginx.ts'
import { freePort } from './ports.ts'
import { launch, listening, which } from './process.ts'
import type { Running } from './setting.ts'

const small = 'hello world hello world hello world hello world hello world\n'

/** Another address than the load's, as a pod has one of its own. */
const address = '127.0.0.2'

/** What `GET /large` answers with. */
export const largeBytes = 1 << 20

/** Starts the origin: any request gets 200 with 60 bytes of text, `/large` gets 1 MiB. */
export async function startOrigin(directory: string, cores: string): Promise<Running> {
  const port = await freePort(address)
  if (which('nginx') === null) {
    const script = fileURLToPath(new URL('answer.ts', import.meta.url))
    const child = launch('origin', [process.execPath, script, address, `${port}`, `${largeBytes}`, small], { cores })
    await listening(child, address, port)
    return { address, port, children: [child], stop: () => child.stop() }
  }
  writeFileSync(join(directory, 'large'), Buffer.alloc(largeBytes, 'x'))
  const servers = `  sendfile on;
  server { listen ${address}:${port} backlog=4096;
    location = /large { root ${directory}; default_type application/octet-stream; }
    location / { default_type text/plain; return 200 "${small.trim()}\\n"; } }`
  return runNginx({ directory, threads: 1 }, 'origin', cores, servers, port, address)
}
