// What local mode needs of the machine, checked before anything is started, each with one clear line when it is missing.

import { createHash } from 'node:crypto'
import { once } from 'node:events'
import net from 'node:net'

/** A reason not to start that needs no stack trace: its message is all that is shown. */
export class StartError extends Error {
  override name = 'StartError'
}

/** Held while a mesh uses what it names; the kernel frees it with the process, however that ends. */
export interface Lock {
  release(): Promise<void>
}

/**
 * Takes a lock: a socket in the abstract namespace, which needs no file and can't go stale.
 * @param name what only one mesh can have: its addresses, its folder
 * @param about what another start is told about this one
 * @throws StartError when another mesh holds it
 */
export async function takeLock(name: string, about: string): Promise<Lock> {
  // A name of fixed length: a socket's path has room for 107 bytes, a folder's may be longer.
  const path = `\0weft-local-${createHash('sha256').update(name).digest('hex').slice(0, 32)}`
  const server = net.createServer((socket) => {
    socket.on('error', () => {})
    socket.end(about)
  })
  server.listen(path)
  try {
    await once(server, 'listening')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error
    const other = await ask(path)
    throw new StartError(
      `a local mesh runs on this machine already${other ? ` (${other})` : ''}; end it first with Ctrl-C`,
    )
  }
  return {
    release: async () => {
      server.close()
      await once(server, 'close')
    },
  }
}

async function ask(path: string): Promise<string> {
  const socket = net.connect(path)
  let text = ''
  socket.setTimeout(1000, () => socket.destroy())
  socket.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk
  })
  socket.on('error', () => {})
  await once(socket, 'close')
  return text
}

/**
 * Makes sure that this system can give every pod a loopback address of its own.
 * @throws StartError
 */
export async function checkSystem(address: string): Promise<void> {
  if (process.platform !== 'linux') {
    throw new StartError(`local mode needs Linux (this is ${process.platform}); use a Linux machine, container or VM`)
  }
  const code = await tryListen(address, 0)
  if (code !== undefined) {
    throw new StartError(
      `can't listen on ${address} (${code}); local mode needs the whole of 127.0.0.0/8 on the loopback device`,
    )
  }
}

/**
 * Makes sure that nobody listens on a port that is needed, be it on this address or on all.
 * @param remedy what to do about it, for the message
 * @throws StartError
 */
export async function checkPort(address: string, port: number, remedy: string): Promise<void> {
  const code = await tryListen(address, port)
  if (code === undefined) return
  const why = code === 'EADDRINUSE' ? 'is taken by another program' : `can't be used (${code})`
  throw new StartError(`port ${port} on ${address} ${why}; ${remedy}`)
}

async function tryListen(address: string, port: number): Promise<string | undefined> {
  const server = net.createServer()
  server.listen(port, address)
  try {
    await once(server, 'listening')
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? 'unknown error'
  }
  server.close()
  await once(server, 'close')
  return undefined
}
