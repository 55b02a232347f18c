// Readiness as a ledger: whoever must be done before the controller is of use names itself here, and what is still
// missing can be read from /readyz?verbose.

export interface Ledger {
  /** Names what is missing at the moment; empty: ready. */
  blockers(): string[]
  /** Adds a source of blockers, asked each time. */
  add(source: () => string[]): void
}

/** Opens an empty ledger. */
export function openLedger(): Ledger {
  const sources: (() => string[])[] = []
  return {
    blockers: () => sources.flatMap((source) => source()),
    add: (source) => {
      sources.push(source)
    },
  }
}
