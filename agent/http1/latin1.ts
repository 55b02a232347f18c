// Bytes as text and back, one character a byte: how heads are read and written.

/** What is behind `toString(encoding)`, without its checks; not in the type definitions. */
interface Slices {
  latin1Slice(start: number, end: number): string
}

/** The bytes from `start` to `end` as latin1 text. */
export function latin1(chunk: Buffer, start: number, end: number): string {
  return (chunk as unknown as Slices).latin1Slice(start, end)
}

/**
 * Looks for a whole message head.
 * @param most bytes that a head may have
 * @returns the head up to its empty line; empty if its end is not among the first `most` bytes
 */
export function headText(chunk: Buffer, at: number, end: number, most: number): string {
  const text = latin1(chunk, at, Math.min(end, at + most))
  const stop = text.indexOf('\r\n\r\n')
  if (stop === -1) return ''
  return stop + 4 === text.length ? text : text.slice(0, stop + 4)
}
