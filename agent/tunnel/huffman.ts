// Huffman decoding of header strings (RFC 7541 appendix B). We never send them so, other implementations do.

import { codes, H2Error } from './frame.ts'

/** The symbols by the length of their code in bits; the code is canonical, so that lengths and order define it. */
const symbols: [bits: number, ...symbols: (number | string)[]][] = [
  [5, '012aceiost'],
  [6, ' %-./3456789=A_bdfghlmnpru'],
  [7, ':BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz'],
  [8, '&*,;XZ'],
  [10, '!"()?'],
  [11, "'+|"],
  [12, '#>'],
  [13, 0, '$@[]~'],
  [14, '^}'],
  [15, '<`{'],
  [19, '\\', 195, 208],
  [20, 128, 130, 131, 162, 184, 194, 224, 226],
  [21, 153, 161, 167, 172, 176, 177, 179, 209, 216, 217, 227, 229, 230],
  [22, 129, 132, 133, 134, 136, 146, 154, 156, 160, 163, 164, 169, 170, 173, 178, 181, 185, 186, 187, 189, 190, 196],
  [22, 198, 228, 232, 233],
  [23, 1, 135, 137, 138, 139, 140, 141, 143, 147, 149, 150, 151, 152, 155, 157, 158, 165, 166, 168, 174, 175, 180],
  [23, 182, 183, 188, 191, 197, 231, 239],
  [24, 9, 142, 144, 145, 148, 159, 171, 206, 215, 225, 236, 237],
  [25, 199, 207, 234, 235],
  [26, 192, 193, 200, 201, 202, 205, 210, 213, 218, 219, 238, 240, 242, 243, 255],
  [27, 203, 204, 211, 212, 214, 221, 222, 223, 241, 244, 245, 246, 247, 248, 250, 251, 252, 253, 254],
  [28, 2, 3, 4, 5, 6, 7, 8, 11, 12, 14, 15, 16, 17, 18, 19, 20, 21, 23, 24, 25, 26, 27, 28, 29, 30, 31, 127, 220, 249],
  [30, 10, 13, 22, 256],
]

const endOfString = 256

/** A binary tree in one array: two cells a node; a positive cell is the next node, a negative one is -1 - symbol. */
const tree: number[] = [0, 0]

function plant(): void {
  let code = 0
  let before = 5
  for (const [bits, ...groups] of symbols) {
    code *= 2 ** (bits - before)
    before = bits
    for (const group of groups) {
      for (const symbol of typeof group === 'number' ? [group] : [...group].map((each) => each.charCodeAt(0)))
        grow(code++, bits, symbol)
    }
  }
}

function grow(code: number, bits: number, symbol: number): void {
  let node = 0
  for (let bit = bits - 1; bit >= 0; bit--) {
    const cell = node + ((code >>> bit) & 1)
    if (bit === 0) {
      tree[cell] = -1 - symbol
    } else {
      if (tree[cell] === 0) {
        tree[cell] = tree.length
        tree.push(0, 0)
      }
      node = tree[cell]!
    }
  }
}

plant()

/**
 * Decodes a string.
 * @throws H2Error for the end-of-string symbol, a padding that isn't the beginning of it, or one longer than 7 bits
 */
export function huffmanDecode(block: Buffer, start: number, end: number): string {
  let text = ''
  let node = 0
  let depth = 0
  let isOnes = true
  for (let at = start; at < end; at++) {
    for (let bit = 7; bit >= 0; bit--) {
      const one = (block[at]! >>> bit) & 1
      const next = tree[node + one]!
      depth++
      isOnes &&= one === 1
      if (next >= 0) {
        node = next
        continue
      }
      const symbol = -1 - next
      if (symbol === endOfString) throw new H2Error(codes.compression, 'a Huffman string with its end inside')
      text += String.fromCharCode(symbol)
      node = 0
      depth = 0
      isOnes = true
    }
  }
  if (depth > 7 || !isOnes) throw new H2Error(codes.compression, 'a Huffman string with wrong padding')
  return text
}
