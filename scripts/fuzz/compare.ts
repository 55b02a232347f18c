// The rule of differential fuzzing: the engine may refuse what the oracle takes, but what both take they frame alike, and
// what the engine sends on the oracle reads as exactly that message.

import type { Dice } from './dice.ts'
import { readRequests, readResponses } from './engine.ts'
import type { Message, Reading } from './message.ts'
import { readByOracle } from './oracle.ts'

/** Refusals of the oracle that are not about framing: methods that it does not know, and a closed connection's rest. */
const silent = new Set(['HPE_INVALID_METHOD', 'HPE_CLOSED_CONNECTION'])

/**
 * Compares engine and oracle on one stream.
 * @param method of the request that the stream answers; null: the stream has requests
 * @returns what differs, or null
 */
export function compare(text: string, method: string | null, dice: Dice): string | null {
  const stream = Buffer.from(text, 'latin1')
  const read = (cuts: (at: number) => number) =>
    method === null ? readRequests(stream, cuts) : readResponses(stream, method, cuts)
  const engine = read(() => 1)
  const whole = read(() => stream.length)
  const pieces = read(() => 1 + dice.below(40))
  return (
    sameInPieces(engine, whole, 'at once') ??
    sameInPieces(engine, pieces, 'in pieces') ??
    sameAsOracle(engine, readByOracle(stream, method), method) ??
    forwardedWell(engine, method)
  )
}

function sameInPieces(engine: Reading, other: Reading, how: string): string | null {
  const shape = (reading: Reading) =>
    JSON.stringify([
      reading.error,
      reading.messages.map(({ first, content, end }) => [first, end >= 0, end >= 0 ? content : '']),
    ])
  const [one, two] = [shape(engine), shape(other)]
  return one === two ? null : `byte by byte ${one}, ${how} ${two}`
}

function sameAsOracle(engine: Reading, oracle: Reading, method: string | null): string | null {
  for (let at = 0; at < engine.messages.length; at++) {
    const ours = engine.messages[at]!
    const theirs = oracle.messages[at]
    if (theirs === undefined) {
      // A method that the oracle does not know leaves it without an opinion.
      if (silent.has(oracle.error) && method === null) return null
      return `message ${at} (${ours.first}) is none for the oracle: ${oracle.error || 'incomplete'}`
    }
    const difference = differs(ours, theirs, oracle.error)
    if (difference !== null) return `message ${at} (${ours.first}): ${difference}`
    if (theirs.isUpgrade) return null
  }
  return null
}

function differs(ours: Message, theirs: Message, error: string): string | null {
  if (ours.first !== theirs.first) return `the oracle reads ${theirs.first}`
  if (ours.end === -1) return null
  if (theirs.end === -1) return `ends at ${ours.end}, for the oracle nowhere (${error || 'incomplete'})`
  if (ours.end !== theirs.end) return `ends at ${ours.end}, for the oracle at ${theirs.end}`
  if (ours.content !== theirs.content) return `content ${json(ours.content)}, for the oracle ${json(theirs.content)}`
  if (ours.isKeepAlive && !theirs.isKeepAlive) return 'is kept alive, not by the oracle'
  for (const field of ours.fields) {
    if (!theirs.fields.some(({ name, value }) => name === field.name && value === field.value)) {
      return `the oracle has no field ${json(field)}`
    }
  }
  return null
}

/** What goes on to the next hop must be read there as one message, the one that was understood here. */
function forwardedWell(engine: Reading, method: string | null): string | null {
  for (const { forwarded, first, content, end, isUpgrade } of engine.messages) {
    if (end === -1 || isUpgrade) continue
    const bytes = Buffer.from(forwarded, 'latin1')
    const seen = readByOracle(bytes, method)
    if (silent.has(seen.error) && method === null) continue
    const [only] = seen.messages
    const sent = json(forwarded)
    if (only === undefined || seen.messages.length !== 1 || seen.error !== '') {
      return `sent on as ${sent}: ${seen.messages.length} messages, ${seen.error || 'no error'}`
    }
    if (method === null && only.first.split(' ')[0] !== first.split(' ')[0]) return `sent on as ${sent}`
    const isClose = method !== null && only.end === -1
    if (only.content !== content || (only.end !== bytes.length && !isClose)) {
      return `sent on as ${sent}: content ${json(only.content)} up to ${only.end}`
    }
  }
  return null
}

function json(value: unknown): string {
  return JSON.stringify(value)
}
