// What stands in the frames that steer a connection, checked for its form (RFC 9113 section 6).

import { codes, H2Error, maxFrameBytes, maxWindowBytes, settings } from './frame.ts'

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
