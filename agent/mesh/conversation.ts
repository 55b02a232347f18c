// Control thread: what the controller says on one line: lines of a packed stream, put together into whole transactions.

import type { Readable } from 'node:stream'
import { createGunzip } from 'node:zlib'
import type { Message } from '../../controller/contract/messages.ts'
import { contract } from '../../controller/contract/version.ts'
import type { Dispatcher } from '../client.ts'
import { CheckError } from './check.ts'
import { readMessage } from './schema.ts'
import { type Item, Reader, readItem, type Wanted } from './store.ts'

/** More than a resource of the largest cluster; a line without end must not fill the memory. */
const lineLimit = 64 * 1024 * 1024

/** Takes a transaction: `build` adds it to what the controller wanted before. */
type Take = (build: (base: Wanted | null) => Wanted) => Promise<void>

/** The order of messages: hello, then transactions and pings. */
export class Conversation {
  readonly #take: Take
  /** '' before the hello. */
  controller = ''
  /** `address:port` that takes reports; '' if there is none. */
  address = ''
  #isGreeted = false
  /** A whole cluster, perhaps: of each message no more than is needed. */
  #items: Item[] = []
  #begin: Extract<Message, { type: 'begin' }> | null = null

  constructor(take: Take) {
    this.#take = take
  }

  /** @throws CheckError if the line is not what may come next */
  async next(line: string): Promise<void> {
    const message = readMessage(line)
    if (!this.#isGreeted) this.#greet(message)
    else if (message.type === 'ping') return
    else if (message.type === 'begin' && this.#begin === null) this.#begin = message
    else if (this.#begin === null || message.type === 'begin' || message.type === 'hello') {
      throw new CheckError(`${message.type} ${this.#begin === null ? 'outside' : 'within'} a transaction`)
    } else if (message.type === 'commit') await this.#finish(this.#begin, message)
    else this.#items.push(readItem(message, line))
  }

  #greet(message: Message): void {
    if (message.type !== 'hello') throw new CheckError(`${message.type} instead of hello`)
    if (message.contract < contract.oldest || message.contract > contract.newest) {
      const known = `${contract.oldest} to ${contract.newest}`
      throw new CheckError(`the controller speaks contract version ${message.contract}, this agent ${known}`)
    }
    this.controller = message.controller
    this.address = message.address ?? ''
    this.#isGreeted = true
  }

  async #finish(begin: Extract<Message, { type: 'begin' }>, commit: Extract<Message, { type: 'commit' }>) {
    const items = this.#items
    this.#begin = null
    this.#items = []
    await this.#take((base) => {
      if (!begin.full && base === null) throw new CheckError('the first transaction is not a full one')
      const reader = new Reader(begin.version, begin.full ? null : base)
      for (const item of items) reader.add(item)
      return reader.finish(commit)
    })
  }
}

/** The body of an answer, unpacked. */
export function decoded(response: Dispatcher.ResponseData): Readable {
  if (response.headers['content-encoding'] !== 'gzip') return response.body
  const gunzip = createGunzip()
  // pipe() does not carry errors over.
  response.body.on('error', (error) => gunzip.destroy(error))
  gunzip.on('close', () => response.body.destroy())
  return response.body.pipe(gunzip)
}

/** Splits a stream into its lines. @param onBytes called for each chunk */
export async function* linesOf(body: Readable, onBytes: () => void): AsyncGenerator<string> {
  body.setEncoding('utf8')
  let rest = ''
  for await (const chunk of body as AsyncIterable<string>) {
    onBytes()
    const lines = (rest + chunk).split('\n')
    rest = lines.pop()!
    if (rest.length > lineLimit) throw new CheckError(`a line is longer than ${lineLimit} characters`)
    yield* lines.filter((line) => line !== '')
  }
}
