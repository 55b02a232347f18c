// Cuts a byte stream into lines, for the newline-delimited JSON of a watch.

/** A watch event is one object and some; the API server takes no object above 3 MiB. */
const lineLimitBytes = 16 << 20

/**
 * Cuts chunks into lines without their newline; empty lines and an unfinished last one are left out.
 * @throws Error when a line exceeds 16 MiB
 */
export async function* readLines(chunks: AsyncIterable<Buffer>): AsyncGenerator<string> {
  let parts: Buffer[] = []
  let bytes = 0
  for await (const chunk of chunks) {
    let start = 0
    for (let end = chunk.indexOf(10); end !== -1; end = chunk.indexOf(10, start)) {
      parts.push(chunk.subarray(start, end))
      const line = parts.length === 1 ? parts[0]!.toString() : Buffer.concat(parts).toString()
      parts = []
      bytes = 0
      start = end + 1
      if (line !== '') yield line
    }
    if (start === chunk.length) continue
    parts.push(chunk.subarray(start))
    bytes += chunk.length - start
    if (bytes > lineLimitBytes) throw new Error(`a line of the watch exceeds ${lineLimitBytes} bytes`)
  }
}
