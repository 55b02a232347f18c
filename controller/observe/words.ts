// One copy of each word that many objects say: parsed from JSON, every pod has a node's name, an account's and an owner's of
// its own, and with 50,000 pods that is more than what tells them apart.

/** More different words than that are no words of a cluster: the copies that are out stay good. */
const most = 100_000

const words = new Map<string, string>()

/** The text, as the copy that others with the same text have. */
export function shared<T extends string | undefined>(text: T): T {
  if (text === undefined) return text
  const known = words.get(text)
  if (known !== undefined) return known as T
  if (words.size >= most) words.clear()
  words.set(text, text)
  return text
}

/** The fields of an object with shared copies of those that are texts, in place. */
export function shareFields<T extends object | undefined>(object: T): T {
  for (const [name, value] of Object.entries(object ?? {})) {
    if (typeof value === 'string') Reflect.set(object!, name, shared(value))
  }
  return object
}
