// A compiled HTTPRouteGroup match: may decide a split (outbound/divide.ts) and access (inbound/permit.ts).

/** What a match looks at: canonical, the same strings that are logged and forwarded. */
export interface MatchInput {
  readonly method: string
  /** Canonical path, without the query. */
  readonly path: string
  /** All values of a header by lower-case name, joined with ", ", or null if it is absent. */
  header(name: string): string | null
  /** The values of a header's lines, each for itself; where it is missing, headers are known in their joined form alone. */
  headerLines?(name: string): readonly string[]
}

export interface Match {
  readonly name: string
  test(input: MatchInput): boolean
}
