// Fourth step of the outbound path: which backend of a port's splits gets this request. Each request is divided on its
// own, each connection where the port is opaque.

import { MeshError } from '../errors.ts'
import type { Match, MatchInput } from '../mesh/match.ts'
import type { Backend, Port, Split } from '../mesh/snapshot.ts'

/**
 * Chooses the backend: the first split that has no matches or one that fits decides; without such a split the Service's
 * own endpoints serve. A backend that has no endpoints keeps its share, and fails it.
 * @param input the request, or null for opaque TCP: a split with matches never applies to that
 * @param random a number in [0, 1)
 * @returns the Backend, or `no_backend` where the split that decides has none left
 */
export function divide(port: Port, input: MatchInput | null, random: number): Backend | MeshError {
  const splits = port.splits
  for (let i = 0; i < splits.length; i++) {
    const split = splits[i]!
    if (split.matches === null || (input !== null && fits(split.matches, input))) return weigh(split, random)
  }
  return port.own
}

function fits(matches: readonly Match[], input: MatchInput): boolean {
  for (let i = 0; i < matches.length; i++) if (matches[i]!.test(input)) return true
  return false
}

function weigh(split: Split, random: number): Backend | MeshError {
  if (split.total <= 0) return new MeshError('no_backend', `TrafficSplit ${split.name}`)
  let left = random * split.total
  let last: Backend | null = null
  for (let i = 0; i < split.choices.length; i++) {
    const { backend, weight } = split.choices[i]!
    if (weight <= 0) continue
    if (left < weight) return backend
    left -= weight
    last = backend
  }
  // Only rounding leads here: random * total can come out as total.
  return last ?? new MeshError('no_backend', `TrafficSplit ${split.name}`)
}
