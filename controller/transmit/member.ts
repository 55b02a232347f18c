// Gzip members for the few bytes that are an agent's own: not worth compressing, cheap to wrap.

import { crc32, gzipSync } from 'node:zlib'

/** Below this, deflate saves less than it costs. */
const storedBelowBytes = 512
/** ID1 ID2 CM FLG MTIME×4 XFL OS, then the header of a final stored block (RFC 1952 2.3, RFC 1951 3.2.4). */
const head = Buffer.from([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255, 1])

/** The bytes as a complete gzip member; an empty input gives nothing at all. */
export function gzipMember(bytes: Buffer): Buffer {
  if (bytes.length === 0) return bytes
  if (bytes.length >= storedBelowBytes) return gzipSync(bytes, { level: 4 })
  const member = Buffer.allocUnsafe(head.length + 4 + bytes.length + 8)
  let at = head.copy(member)
  at = member.writeUInt16LE(bytes.length, at)
  at = member.writeUInt16LE(~bytes.length & 0xffff, at)
  at += bytes.copy(member, at)
  at = member.writeUInt32LE(crc32(bytes), at)
  member.writeUInt32LE(bytes.length, at)
  return member
}
