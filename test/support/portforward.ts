// An API server that offers nothing but port-forward, for tests of what reads pods.

import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Duplex } from 'node:stream'
import { Agent } from 'undici'
import type { Cluster } from '../../controller/observe/access.ts'
import { answerForward } from '../../scripts/local/api/http/forward.ts'

export interface PortForward {
  cluster: Cluster
  /** Paths asked for, with the headers that came along. */
  asked: { path: string; headers: Record<string, string | string[] | undefined> }[]
  close(): Promise<void>
}

/**
 * Starts one.
 * @param reach gives the local port that a pod's port stands for; a text is the error that the kubelet reports
 */
export async function startPortForward(reach: (pod: string, port: number) => number | string): Promise<PortForward> {
  const asked: PortForward['asked'] = []
  const sockets = new Set<Duplex>()
  const server = createServer((_request, response) => response.writeHead(404).end())
  server.on('upgrade', (request, socket) => {
    sockets.add(socket)
    asked.push({ path: request.url ?? '', headers: request.headers })
    answerForward(request, socket, true, ({ name }, port) => {
      const target = reach(name, port)
      return typeof target === 'string' ? target : { host: '127.0.0.1', port: target }
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const dispatcher = new Agent()
  return {
    asked,
    cluster: {
      server: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
      access: async () => ({
        dispatcher,
        headers: { authorization: 'Bearer secret', 'Impersonate-Group': ['a', 'b'] },
      }),
      close: () => dispatcher.destroy(),
    },
    async close() {
      for (const socket of sockets) socket.destroy()
      await dispatcher.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
