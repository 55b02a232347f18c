// `kubectl logs`: reads what the kubelet stand-ins let containers write to files.

import { existsSync } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import type { LogRequest } from './api/http/serve.ts'
import type { PodSpec } from './objects.ts'

/** How often a file that is followed is looked at. */
const pollMs = 200
const chunkBytes = 64 << 10

/** The file that a container writes to. */
export function logFileOf(folder: string, pod: { name: string; namespace?: string }, container: string): string {
  return join(folder, `${pod.namespace}_${pod.name}_${container}.log`)
}

/** What a container has written, from the wanted line on; with `follow` also what it goes on to write. */
export function readLogs(folder: string, request: LogRequest): Readable {
  const { containers } = request.pod['spec'] as PodSpec
  const file = logFileOf(folder, request.pod.metadata, request.container ?? containers[0]!.name)
  // One file holds the output of all runs of a container: what came before a restart stands above.
  return Readable.from(existsSync(file) ? linesOf(file, request) : [])
}

async function* linesOf(file: string, { follow, tailLines }: LogRequest): AsyncGenerator<Buffer> {
  const handle = await open(file)
  try {
    let at = tailLines === undefined ? 0 : await startOfLast(handle, tailLines)
    for (;;) {
      const { buffer, bytesRead } = await handle.read(Buffer.allocUnsafe(chunkBytes), 0, chunkBytes, at)
      at += bytesRead
      if (bytesRead > 0) yield buffer.subarray(0, bytesRead)
      // A file that nobody can find any more belongs to a pod that is gone.
      else if (!follow || !existsSync(file)) return
      else await sleep(pollMs)
    }
  } finally {
    await handle.close()
  }
}

/** Where the last lines of a file begin, in bytes from its start. */
async function startOfLast(handle: FileHandle, lines: number): Promise<number> {
  const newline = 10
  const { size } = await handle.stat()
  const { buffer: end } = await handle.read(Buffer.alloc(1), 0, 1, Math.max(size - 1, 0))
  // A line break at the very end ends the last line and begins none.
  let left = end[0] === newline ? lines + 1 : lines
  if (left === 0) return size
  let at = size
  while (at > 0) {
    const length = Math.min(chunkBytes, at)
    const { buffer } = await handle.read(Buffer.alloc(length), 0, length, at - length)
    for (let i = length - 1; i >= 0; i--) {
      if (buffer[i] === newline && --left === 0) return at - length + i + 1
    }
    at -= length
  }
  return 0
}
