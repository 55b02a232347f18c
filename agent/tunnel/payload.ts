// What stands in frames other than DATA, checked for its form (RFC 9113 section 6 and 8.5).

import { codes, H2Error, maxFrameBytes, maxWindowBytes, settings } from './frame.ts'
import type { Header } from './hpack.ts'

export interface Goaway {
  /** The last stream that the peer has looked at. */
  last: number
  code: number
  text: string
}

/** RST_STREAM: its code. */
export function readReset(payload: Buffer): number {
  if (payload.length !== 4) throw new H2Error(codes.frameSize, 'RST_STREAM')
  return payload.readUInt32BE(0)
}

/** WINDOW_UPDATE: the increment, which is not 0 in a valid one. */
export function readWindowUpdate(payload: Buffer): number {
  if (payload.length !== 4) throw new H2Error(codes.frameSize, 'WINDOW_UPDATE')
  return payload.readUInt32BE(0) & 0x7fffffff
}

/** GOAWAY. */
export function readGoaway(stream: number, payload: Buffer): Goaway {
  if (stream !== 0 || payload.length < 8) throw new H2Error(codes.protocol, 'GOAWAY')
  const last = payload.readUInt32BE(0) & 0x7fffffff
  return { last, code: payload.readUInt32BE(4), text: payload.toString('latin1', 8, 200) }
}

/** PING: only its form. */
export function checkPing(stream: number, payload: Buffer): void {
  if (stream !== 0) throw new H2Error(codes.protocol, 'PING on a stream')
  if (payload.length !== 8) throw new H2Error(codes.frameSize, 'PING')
}

/** SETTINGS: the pairs of a number and a value, those that mean something checked for their bounds. */
export function readSettings(stream: number, isAck: boolean, payload: Buffer): [name: number, value: number][] {
  if (stream !== 0) throw new H2Error(codes.protocol, 'SETTINGS on a stream')
  if (payload.length % 6 !== 0 || (isAck && payload.length > 0)) throw new H2Error(codes.frameSize, 'SETTINGS')
  const pairs: [number, number][] = []
  for (let at = 0; at < payload.length; at += 6) {
    const name = payload.readUInt16BE(at)
    const value = payload.readUInt32BE(at + 2)
    if (name === settings.initialWindow && value > maxWindowBytes)
      throw new H2Error(codes.flowControl, 'an initial window too large')
    if (name === settings.maxFrame && (value < maxFrameBytes || value > 0xffffff))
      throw new H2Error(codes.protocol, 'a frame size out of bounds')
    if (name === settings.enablePush && value > 1) throw new H2Error(codes.protocol, 'ENABLE_PUSH is neither 0 nor 1')
    pairs.push([name, value])
  }
  return pairs
}

/** The value of a header; empty if it is absent. */
export function findHeader(headers: readonly Header[], name: string): string {
  return headers.find((header) => header[0] === name)?.[1] ?? ''
}

/** Why a request is no CONNECT that can be carried; null if it is one. */
export function askProblem(headers: readonly Header[], isEnd: boolean): { status: number; reason: string } | null {
  if (findHeader(headers, ':method') !== 'CONNECT') return { status: 405, reason: 'method_refused' }
  const isPlain = !headers.some(([name]) => name === ':path' || name === ':scheme')
  return isPlain && !isEnd && findHeader(headers, ':authority') !== '' ? null : { status: 400, reason: 'bad_request' }
}
