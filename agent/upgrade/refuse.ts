// An endpoint's refusal to switch, passed on to the caller: a whole response that ends with the connection, and nothing
// that could be taken for a tunnel (RFC 9110 section 7.8).

import type { IncomingMessage } from 'node:http'
import { readTokens } from '../http1/fields.ts'
import { currentDate } from '../http1/write.ts'
import type { WireDuplex } from './duplex.ts'

/** Lines of one hop, or that only the mesh may say. The body is passed on without its chunks, up to the end. */
const dropped = [
  'connection',
  'keep-alive',
  'proxy-connection',
  'te',
  'transfer-encoding',
  'upgrade',
  'x-forwarded-client-cert',
]

/**
 * Passes a response on. A body that is cut short resets the caller's connection.
 * @param cuts further lower-case names of lines that are left out
 * @param lines more lines, each with its CRLF
 * @param onEnd called when all of it is on its way
 */
export function passRefusal(
  response: IncomingMessage,
  down: WireDuplex,
  cuts: readonly string[],
  lines: string,
  onEnd: () => void,
): void {
  const unwanted = new Set([...dropped, ...cuts, ...readTokens(response.headers.connection ?? '')])
  const date = response.headers.date === undefined ? currentDate() : ''
  let head = `HTTP/1.1 ${response.statusCode} ${response.statusMessage}\r\n`
  const { rawHeaders } = response
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    const name = rawHeaders[at]!
    if (!unwanted.has(name.toLowerCase())) head += `${name}: ${rawHeaders[at + 1]}\r\n`
  }
  down.write(`${head}${date}${lines}connection: close\r\n\r\n`, 'latin1')
  // What follows counts.
  down.bytesWritten = 0
  response.once('close', () => {
    if (!response.complete) down.destroy(new Error('the refusal was cut short'))
  })
  down.once('finish', () => {
    if (response.complete) onEnd()
  })
  response.on('error', () => {})
  response.pipe(down)
}
