// Waiting for a condition, the only way in which tests wait.

/**
 * Resolves as soon as the condition holds.
 * @throws Error with the description when it does not within the time
 */
export async function until(
  condition: () => boolean | Promise<boolean>,
  what: string | (() => string) = 'the condition',
  withinMs = 10_000,
): Promise<void> {
  const deadline = performance.now() + withinMs
  while (!(await condition())) {
    if (performance.now() > deadline) {
      throw new Error(`${typeof what === 'string' ? what : what()} did not come true within ${withinMs} ms`)
    }
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
}
