// A reader of DER (X.690) for certificates and requests: strict, without recursion, never beyond the bytes it was given.
// Whatever is not canonical is an error, so that two readers can't understand the same bytes differently.

/** Bytes that are not the DER that was expected. */
export class DerError extends Error {
  override name = 'DerError'
}

/** One element: where it begins, where its content begins and where it ends. */
export interface Element {
  readonly tag: number
  readonly from: number
  readonly start: number
  readonly end: number
}

/** Tags of the universal class that certificates are made of. */
export const tags = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  oid: 0x06,
  sequence: 0x30,
} as const

/**
 * Reads the element at a position.
 * @param limit end of the enclosing element
 * @throws DerError for a long-form tag, an indefinite or padded length, or an element that exceeds `limit`
 */
export function element(der: Buffer, at: number, limit: number): Element {
  if (at + 2 > limit) throw new DerError('truncated element')
  const tag = der[at]!
  if ((tag & 0x1f) === 0x1f) throw new DerError('long-form tag')
  let length = der[at + 1]!
  let start = at + 2
  if (length >= 0x80) {
    const count = length - 0x80
    if (count === 0 || count > 3 || start + count > limit) throw new DerError('length out of bounds')
    length = der.readUIntBE(start, count)
    // DER: the shortest form that can carry the length.
    if (length < 0x80 || (count > 1 && length < 2 ** (8 * (count - 1)))) throw new DerError('padded length')
    start += count
  }
  if (start + length > limit) throw new DerError('element exceeds its parent')
  return { tag, from: at, start, end: start + length }
}

/** The elements directly inside one. */
export function children(der: Buffer, parent: Element): Element[] {
  const found: Element[] = []
  for (let at = parent.start; at < parent.end; ) {
    const child = element(der, at, parent.end)
    found.push(child)
    at = child.end
  }
  return found
}

/** The one element that fills a buffer, and must have the given tag. */
export function outermost(der: Buffer, tag: number): Element {
  const whole = element(der, 0, der.length)
  if (whole.end !== der.length) throw new DerError('bytes after the end')
  return expectTag(whole, tag)
}

/** @throws DerError unless the element is there and has the tag */
export function expectTag(found: Element | undefined, tag: number): Element {
  if (found === undefined) throw new DerError('missing element')
  if (found.tag !== tag) throw new DerError(`tag 0x${found.tag.toString(16)} where 0x${tag.toString(16)} belongs`)
  return found
}

/** The content of an element, not copied. */
export function content(der: Buffer, of: Element): Buffer {
  return der.subarray(of.start, of.end)
}

/** The element with its tag and length, not copied. */
export function encoded(der: Buffer, of: Element): Buffer {
  return der.subarray(of.from, of.end)
}

/**
 * The bits of a BIT STRING whose length is a whole number of bytes.
 * @throws DerError if it isn't one
 */
export function wholeBits(der: Buffer, of: Element): Buffer {
  expectTag(of, tags.bitString)
  if (of.end === of.start || der[of.start] !== 0) throw new DerError('bit string with unused bits')
  return der.subarray(of.start + 1, of.end)
}
