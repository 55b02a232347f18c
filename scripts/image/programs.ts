// The programs that run in pods of the mesh, each with arguments that let it load all of its code and end. Node keeps what it
// compiled meanwhile (NODE_COMPILE_CACHE): V8 parses nothing twice, and an agent at rest is a quarter smaller for it.

/** Paths from the repository's root, with arguments. */
export const programs: readonly (readonly string[])[] = [
  ['agent/main.ts', '--help'],
  ['agent/worker.ts'],
  ['controller/main.ts', '--help'],
  ['controller/cli/main.ts', '--help'],
]
