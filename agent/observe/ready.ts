// The readiness ledger: what still stands in the way, by name. Ready when nothing does.

/** Why the agent isn't ready: a name for each blocker and what it waits for. */
export class Ready {
  readonly #blockers = new Map<string, string>()
  readonly #onChange: (isReady: boolean, blockers: ReadonlyMap<string, string>) => void
  #wasReady = false

  /** @param onChange called when the agent becomes ready, and when it no longer is */
  constructor(onChange: (isReady: boolean, blockers: ReadonlyMap<string, string>) => void) {
    this.#onChange = onChange
  }

  get isReady(): boolean {
    return this.#blockers.size === 0
  }

  /** What is in the way, in the order it came. */
  get blockers(): ReadonlyMap<string, string> {
    return this.#blockers
  }

  /** Enters a blocker, or what it waits for now. */
  block(name: string, waitsFor: string): void {
    this.#blockers.set(name, waitsFor)
    this.#tell()
  }

  clear(name: string): void {
    this.#blockers.delete(name)
    this.#tell()
  }

  /** Blocks unless the condition holds. */
  require(name: string, holds: boolean, waitsFor: string): void {
    if (holds) this.clear(name)
    else this.block(name, waitsFor)
  }

  #tell(): void {
    if (this.isReady === this.#wasReady) return
    this.#wasReady = this.isReady
    this.#onChange(this.isReady, this.#blockers)
  }
}
