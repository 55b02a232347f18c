// Node's own parser (llhttp, strict) as the oracle of how a stream is framed.

import { createRequire } from 'node:module'
import { type Message, newMessage, type Reading } from './message.ts'

/** What is used of the parser inside Node; it has no public types. */
interface Parser {
  initialize(kind: number, resource: object, maxHeaderBytes: number, leniency: number): void
  execute(bytes: Buffer): number | (Error & { code: string })
  finish(): undefined | (Error & { code: string })
  [callback: number]: (...given: never[]) => unknown
}

interface ParserKind {
  new (): Parser
  readonly REQUEST: number
  readonly RESPONSE: number
  readonly kOnHeaders: number
  readonly kOnHeadersComplete: number
  readonly kOnBody: number
  readonly kOnMessageComplete: number
  readonly kLenientNone: number
}

const { HTTPParser, methods } = createRequire(import.meta.url)('node:_http_common') as {
  HTTPParser: ParserKind
  methods: string[]
}

/**
 * Parses a stream byte by byte, so that the place where each message ends is known.
 * @param method of the request that a response answers; null: the stream has requests
 */
export function readByOracle(stream: Buffer, method: string | null): Reading {
  const parser = new HTTPParser()
  const messages: Message[] = []
  let flushed: string[] = []
  let url = ''
  let current: Message | null = null
  let position = 0
  let isOver = false

  parser.initialize(method === null ? HTTPParser.REQUEST : HTTPParser.RESPONSE, {}, 1 << 20, HTTPParser.kLenientNone)
  parser[HTTPParser.kOnHeaders] = (fields: string[], path: string) => {
    flushed.push(...fields)
    url += path
  }
  parser[HTTPParser.kOnHeadersComplete] = (
    _major: number,
    _minor: number,
    fields: string[] | undefined,
    verb: number,
    target: string | undefined,
    status: number,
    _phrase: string,
    isUpgrade: boolean,
    isKeepAlive: boolean,
  ) => {
    current = newMessage(method === null ? `${methods[verb]} ${target ?? url}` : `${status}`)
    const raw = fields ?? flushed
    for (let at = 0; at < raw.length; at += 2)
      current.fields.push({ name: raw[at]!.toLowerCase(), value: trim(raw[at + 1]!) })
    // Not yet known to have no body, a response to HEAD looks as if only the connection's end could end it.
    current.isKeepAlive = isKeepAlive || method === 'HEAD'
    current.isUpgrade = isUpgrade
    flushed = []
    url = ''
    messages.push(current)
    // 1: there is no body, whatever the headers say.
    return method === 'HEAD' ? 1 : 0
  }
  parser[HTTPParser.kOnBody] = (part: Buffer) => {
    if (current !== null) current.content += part.toString('latin1')
  }
  parser[HTTPParser.kOnMessageComplete] = () => {
    if (current === null) return
    current.end = position
    url = ''
    isOver = current.isUpgrade
    flushed = []
  }

  for (let at = 0; at < stream.length && !isOver; at++) {
    position = at + 1
    const result = parser.execute(stream.subarray(at, at + 1))
    if (typeof result !== 'number') return { messages, error: result.code }
  }
  const failed = method === null || isOver ? undefined : parser.finish()
  return { messages, error: failed === undefined ? '' : failed.code }
}

function trim(value: string): string {
  return value.replace(/^[ \t]+|[ \t]+$/g, '')
}
