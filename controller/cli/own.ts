// What this tool is: its version, as package.json states it, and how far it is from what is installed.

import { readFileSync } from 'node:fs'

/** The tool's own version. */
export function ownVersion(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8')
  return (JSON.parse(text) as { version: string }).version
}

/**
 * Why one version can't be replaced by another without a stop in between; null: it can. Agents and controller of
 * neighbouring minor versions understand each other, others need not.
 */
export function distanceFault(from: string, to: string): string | null {
  const old = partsOf(from)
  const next = partsOf(to)
  if (old === null || next === null) return null
  const [low, high] = old.minor <= next.minor ? [old, next] : [next, old]
  if (old.major === next.major && high.minor - low.minor <= 1) return null
  const between =
    old.major === next.major ? `${old.major}.${old.minor < next.minor ? old.minor + 1 : old.minor - 1}` : null
  const step = between === null ? 'the last minor version before the new major one' : between
  return `${from} and ${to} are more than one minor version apart, so agents and controller might not understand each other; go by way of ${step}`
}

function partsOf(version: string): { major: number; minor: number } | null {
  const found = /^v?(\d+)\.(\d+)\./.exec(version)
  return found === null ? null : { major: Number(found[1]), minor: Number(found[2]) }
}
