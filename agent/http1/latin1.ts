// Bytes as text and back, one character a byte: how heads are read and written.

/** What is behind `toString(encoding)`, without its checks; not in the type definitions. */
interface Slices {
  latin1Slice(start: number, end: number): string
  hexSlice(start: number, end: number): string
}

/** The bytes from `start` to `end` as latin1 text. */
export function latin1(chunk: Buffer, start: number, end: number): string {
  return (chunk as unknown as Slices).latin1Slice(start, end)
}

/** The bytes from `start` to `end` as hexadecimal digits. */
export function hex(bytes: Buffer, start: number, end: number): string {
  return (bytes as unknown as Slices).hexSlice(start, end)
}
