// Runs in a pod: holds TCP connections to an echo, sends a line on each of them ten times a second and wants it back. Opens
// none anew. Ends when its stop file appears, and writes what happened to its result file. Only Node's own modules.

import { existsSync, renameSync, writeFileSync } from 'node:fs'
import net from 'node:net'

export interface StreamOptions {
  host: string
  port: number
  count: number
  stopFile: string
  resultFile: string
}

export interface StreamResult {
  /** How many were ever connected. */
  opened: number
  /** Those that ended before they were told to: when, and how. */
  ends: { at: number; how: string }[]
  /** Lines that came back. */
  echoed: number
  /** The longest time that a line took, in ms. */
  maxMs: number
}

const options = JSON.parse(process.argv.at(-1) ?? '') as StreamOptions
const result: StreamResult = { opened: 0, ends: [], echoed: 0, maxMs: 0 }
let isStopping = false

function hold(): Promise<void> {
  return new Promise((resolve) => {
    const socket = net.connect(options.port, options.host)
    let how = 'end'
    let rest = ''
    const timer = setInterval(() => {
      if (isStopping) socket.destroy()
      else socket.write(`${Date.now()}\n`)
    }, 100)
    socket.on('connect', () => result.opened++)
    socket.on('error', (error: NodeJS.ErrnoException) => {
      how = error.code ?? error.message
    })
    socket.setEncoding('latin1').on('data', (chunk: string) => {
      const lines = (rest + chunk).split('\n')
      rest = lines.pop() ?? ''
      for (const line of lines) {
        result.echoed++
        result.maxMs = Math.max(result.maxMs, Date.now() - Number(line))
      }
    })
    socket.on('close', () => {
      clearInterval(timer)
      if (!isStopping) result.ends.push({ at: Date.now(), how })
      resolve()
    })
  })
}

const watch = setInterval(() => {
  if (existsSync(options.stopFile)) isStopping = true
}, 100)
await Promise.all(Array.from({ length: options.count }, hold))
while (!isStopping) await new Promise((resolve) => setTimeout(resolve, 100))
clearInterval(watch)
writeFileSync(`${options.resultFile}.new`, JSON.stringify(result))
renameSync(`${options.resultFile}.new`, options.resultFile)
