// Time, as the parts of the controller that wait see it, so that tests can turn the hands.

export interface Clock {
  /** Monotonic milliseconds, with fractions. */
  now(): number
  /** Milliseconds since the epoch. */
  wall(): number
  /** Resolves after `ms`, or as soon as the signal is aborted; never rejects. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>
  /** 0 ≤ x < 1, for jitter. */
  random(): number
}

export const systemClock: Clock = {
  now: () => performance.now(),
  wall: () => Date.now(),
  sleep,
  random: Math.random,
}

function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted === true) return resolve()
    const end = () => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', end)
      resolve()
    }
    const timer = setTimeout(end, ms)
    signal?.addEventListener('abort', end, { once: true })
  })
}

/**
 * A back-off that doubles from `firstMs` to `maxMs`, each wait spread over half to the whole of its length, so that
 * replicas that failed together don't return together.
 */
export function backoff(clock: Clock, firstMs: number, maxMs: number): { next(): number; reset(): void } {
  let ms = firstMs
  return {
    next() {
      const wait = ms * (0.5 + clock.random() / 2)
      ms = Math.min(ms * 2, maxMs)
      return wait
    },
    reset() {
      ms = firstMs
    },
  }
}
