// A TCP proxy that breaks on demand, between any client and any server: what networks and API servers do to those who
// follow them. It knows nothing of what it carries, TLS included. Modes hold for connections that come from then on and, where
// it says so, for those that stand.
//
// | mode      | new connections                              | those that stand                         |
// | --------- | -------------------------------------------- | ---------------------------------------- |
// | pass      | carried                                      | carried                                  |
// | refuse    | reset at once                                | reset                                    |
// | cut       | reset after N bytes from the server          | reset after N more bytes from the server |
// | stall     | accepted, nothing is carried, nothing closed | the same: bytes wait until `pass`        |
// | hold      | accepted, nothing reaches the server          | what the client says waits until `pass`  |
// | half-open | accepted, and everything sent there is lost  | the same, for good: no byte, no end      |
// | delay     | carried, each chunk from the server D later  | the same                                 |

import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

export type Fault =
  | { kind: 'pass' }
  | { kind: 'refuse' }
  | { kind: 'cut'; afterBytes: number }
  | { kind: 'stall' }
  | { kind: 'hold' }
  | { kind: 'half-open' }
  | { kind: 'delay'; ms: number }

export interface FaultProxy {
  readonly port: number
  /** Connections taken so far, refused ones included. */
  readonly connections: number
  set(fault: Fault): void
  close(): Promise<void>
}

interface Line {
  down: Socket
  up: Socket
  /** Bytes that may still come from the server before the line is reset; null: any number. */
  left: number | null
  isLost: boolean
}

/** Starts a proxy on a free port of 127.0.0.1 that carries to a port there. */
export async function startFaultProxy(target: number): Promise<FaultProxy> {
  const lines = new Set<Line>()
  let fault: Fault = { kind: 'pass' }
  let connections = 0

  function reset({ down, up }: Line): void {
    down.resetAndDestroy()
    up.resetAndDestroy()
  }

  /** Puts the mode in force on a line. */
  function settle(line: Line): void {
    const { kind } = fault
    if (!line.isLost && (kind === 'stall' || kind === 'hold')) line.down.pause()
    else line.down.resume()
    if (!line.isLost && kind === 'stall') line.up.pause()
    else line.up.resume()
    line.left = fault.kind === 'cut' ? fault.afterBytes : null
  }

  function carry(line: Line): void {
    const { down, up } = line
    down.on('data', (chunk) => {
      if (!line.isLost) up.write(chunk)
    })
    up.on('data', (chunk) => {
      if (line.isLost) return
      if (line.left !== null) {
        line.left -= chunk.length
        if (line.left <= 0) return reset(line)
      }
      if (fault.kind === 'delay') setTimeout(() => down.write(chunk), fault.ms)
      else down.write(chunk)
    })
    for (const [from, to] of [
      [down, up],
      [up, down],
    ] as const) {
      from.on('end', () => {
        if (!line.isLost) to.end()
      })
      from.on('error', () => {
        if (!line.isLost) to.resetAndDestroy()
      })
      from.on('close', () => {
        if (line.isLost && !to.destroyed) return
        to.destroy()
        lines.delete(line)
      })
    }
  }

  const server = createServer({ allowHalfOpen: true }, (down) => {
    connections++
    down.on('error', () => {})
    if (fault.kind === 'refuse') return void down.resetAndDestroy()
    const up = connect({ port: target, host: '127.0.0.1', allowHalfOpen: true })
    const line: Line = { down, up, left: null, isLost: fault.kind === 'half-open' }
    lines.add(line)
    carry(line)
    settle(line)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')

  return {
    port: (server.address() as AddressInfo).port,
    get connections() {
      return connections
    },
    set(next) {
      fault = next
      for (const line of lines) {
        if (next.kind === 'refuse') reset(line)
        if (next.kind === 'half-open') line.isLost = true
        settle(line)
      }
    },
    async close() {
      server.close()
      for (const line of lines) {
        line.down.destroy()
        line.up.destroy()
      }
      await once(server, 'close')
    },
  }
}
