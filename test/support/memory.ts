// Looks for private keys where they must not be: in the memory of a process, in whatever form it holds them, and in files.

import { createECDH } from 'node:crypto'
import { closeSync, openSync, readdirSync, readFileSync, readSync } from 'node:fs'
import { join } from 'node:path'

const scalarBytes = 32
/** Of an ECPrivateKey: version 1, then an octet string of 32 bytes (RFC 5915). */
const derForm = Buffer.from([2, 1, 1, 4, scalarBytes])
/** The beginning of a PKCS #8 key of P-256 in base64, up to the scalar. */
const pemForm = Buffer.from('MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg')
/** Of 32 random bytes hardly ever fewer differ. */
const fewestDifferent = 23

/** The writable memory of a process, a mapping at a time. @throws if it may not be read */
function* memoryOf(pid: number): Generator<Buffer> {
  const file = openSync(`/proc/${pid}/mem`, 'r')
  try {
    for (const line of readFileSync(`/proc/${pid}/maps`, 'utf8').split('\n')) {
      const found = /^([0-9a-f]+)-([0-9a-f]+) rw/.exec(line)
      if (found === null) continue
      const start = Number.parseInt(found[1]!, 16)
      const bytes = Number.parseInt(found[2]!, 16) - start
      // Reserved and hardly used, or a device's.
      if (bytes > 256 << 20) continue
      const buffer = Buffer.alloc(bytes)
      try {
        yield buffer.subarray(0, readSync(file, buffer, 0, bytes, start))
      } catch {
        // Gone since, or not memory.
      }
    }
  } finally {
    closeSync(file)
  }
}

/**
 * Finds the private keys of some public ones.
 * @param publicKeys uncompressed points (65 bytes) in hex
 * @returns the private scalars by public key, for those that were found
 */
export function findKeys(pid: number, publicKeys: ReadonlySet<string>): Map<string, Buffer> {
  const ecdh = createECDH('prime256v1')
  const found = new Map<string, Buffer>()
  const tried = new Set<string>()
  const tryOne = (scalar: Buffer) => {
    const text = scalar.toString('latin1')
    if (tried.has(text)) return
    tried.add(text)
    try {
      ecdh.setPrivateKey(scalar)
    } catch {
      return
    }
    const point = ecdh.getPublicKey('hex')
    if (publicKeys.has(point)) found.set(point, Buffer.from(scalar))
  }
  for (const memory of memoryOf(pid)) {
    for (const at of positions(memory, derForm)) {
      const start = at + derForm.length
      if (start + scalarBytes <= memory.length) tryOne(memory.subarray(start, start + scalarBytes))
    }
    for (const at of positions(memory, pemForm)) {
      const start = at + pemForm.length
      // 43 characters hold the scalar.
      tryOne(Buffer.from(memory.toString('latin1', start, start + 44), 'base64').subarray(0, scalarBytes))
    }
    for (const at of randomLooking(memory)) {
      // As OpenSSL computes with it: the least significant bytes first.
      tryOne(Buffer.from(memory.subarray(at, at + scalarBytes)).reverse())
    }
  }
  return found
}

function* positions(memory: Buffer, form: Buffer): Generator<number> {
  for (let at = memory.indexOf(form); at >= 0; at = memory.indexOf(form, at + 1)) yield at
}

/** Aligned places with 32 bytes that could be a random number: no pointers, no text, no small numbers. */
function* randomLooking(memory: Buffer): Generator<number> {
  const words = new Uint32Array(memory.buffer, memory.byteOffset, memory.length >> 2)
  const seen = new Uint32Array(256)
  let round = 0
  for (let at = 0; at + 8 <= words.length; at += 2) {
    let isLikely = true
    let isText = true
    for (let i = at; i < at + 8 && isLikely; i++) {
      const word = words[i]!
      isLikely = word >>> 16 !== 0 && word >>> 16 !== 0xffff && (word & 0xffff) !== 0
      if ((word & 0x80808080) !== 0) isText = false
    }
    if (!isLikely || isText) continue
    round++
    let different = 0
    const from = at * 4
    for (let i = from; i < from + scalarBytes; i++) {
      const byte = memory[i]!
      if (seen[byte] !== round) different++
      seen[byte] = round
    }
    if (different >= fewestDifferent) yield from
  }
}

/** How a key may stand in a file: bare, in DER and PEM, in hex and base64, backwards. */
function formsOf(scalar: Buffer): Buffer[] {
  const backwards = Buffer.from(scalar).reverse()
  // Where base64 begins three bytes earlier or later it looks different.
  const base64 = [0, 1, 2].map((shift) =>
    Buffer.concat([Buffer.alloc(shift), scalar])
      .toString('base64')
      .slice(shift === 0 ? 0 : 4, 40),
  )
  return [scalar, backwards, ...[scalar.toString('hex'), ...base64].map((text) => Buffer.from(text))]
}

/** @returns the files below a folder that hold one of the keys, or anything that says to be a private key */
export function filesWithKeys(folder: string, scalars: Iterable<Buffer>): string[] {
  const forms = [...scalars].flatMap(formsOf)
  forms.push(Buffer.from('PRIVATE KEY'), pemForm)
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => join(parentPath, name))
    .filter((path) => holdsKey(readFileSync(path), forms))
}

/** @returns which of a process' environment, command line and limits hold one of the keys */
export function processFilesWithKeys(pid: number, scalars: Iterable<Buffer>): string[] {
  const forms = [...scalars].flatMap(formsOf)
  forms.push(Buffer.from('PRIVATE KEY'), pemForm)
  return ['environ', 'cmdline', 'comm'].filter((name) => holdsKey(readFileSync(`/proc/${pid}/${name}`), forms))
}

function holdsKey(content: Buffer, forms: readonly Buffer[]): boolean {
  return forms.some((form) => content.includes(form))
}
