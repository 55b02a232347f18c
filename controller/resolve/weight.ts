// Weights of split backends, as every version of TrafficSplit writes them: 90, "90", 0.5, "500m", "1.5", "1e2".

/** Weights above this many whole units are refused: sums must stay exact. */
const maxWeight = 1_000_000_000

const form = /^\+?(\d+\.?\d*|\.\d+)(?:[eE]([+-]?\d{1,3})|(n|u|m|k|Ki|M|Mi|G|Gi|T|Ti|P|Pi|E|Ei))?$/

const scales: Record<string, number> = {
  n: 1e-9,
  u: 1e-6,
  m: 1e-3,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  P: 1e15,
  E: 1e18,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
  Pi: 2 ** 50,
  Ei: 2 ** 60,
}

/**
 * Reads a weight.
 * @returns thousandths of it, rounded up as Kubernetes rounds quantities; null if it is none, negative or too large
 */
export function readWeight(value: unknown): number | null {
  const weight = typeof value === 'number' ? value : typeof value === 'string' ? readQuantity(value.trim()) : null
  if (weight === null || !Number.isFinite(weight) || weight < 0 || weight > maxWeight) return null
  // What binary fractions add must not be rounded up to a whole thousandth: 0.007 * 1000 is 7.000000000000001.
  return Math.ceil(Number((weight * 1000).toPrecision(15)))
}

function readQuantity(text: string): number | null {
  const parts = form.exec(text)
  if (!parts) return null
  const [, digits = '', exponent, suffix] = parts
  const scale = exponent !== undefined ? 10 ** Number(exponent) : suffix !== undefined ? (scales[suffix] ?? 1) : 1
  return Number(digits) * scale
}
