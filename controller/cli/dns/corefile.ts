// Our block in a Corefile. It comes first and ends with its own newline, so that taking it out leaves every other byte as it
// was. What is not ours is only read, to see whether a block can stand beside it.

const begin = '# weft: begin; written by `weft dns install`, taken out by `weft dns remove`'
const end = '# weft: end'

/**
 * The block for a mesh domain, in its marks. It keeps answers for less than their 5 s, so that names are gone 5 s after
 * their Services left the mesh.
 * @param forwardTo address of the Service weft-dns
 */
export function blockFor(domain: string, forwardTo: string): string {
  return `${begin}
${domain}:53 {
    errors
    cache 3
    forward . ${forwardTo}
}
${end}
`
}

/** Our marks, whatever words follow the first one: other versions of this tool may have written them. */
const marked = /^# weft: begin.*\n[\s\S]*?^# weft: end(\n|$)/m

/** Where our block stands in a text; null: nowhere. */
function findBlock(text: string): { start: number; stop: number } | null {
  const found = marked.exec(text)
  return found === null ? null : { start: found.index, stop: found.index + found[0].length }
}

/** Our block as it stands in the text; null: there is none. */
export function readBlock(text: string): string | null {
  const found = findBlock(text)
  return found === null ? null : text.slice(found.start, found.stop)
}

/** The text with our block: in the place of the one that is there, else before everything else. */
export function withBlock(text: string, block: string): string {
  const found = findBlock(text)
  return found === null ? block + text : text.slice(0, found.start) + block + text.slice(found.stop)
}

/** The text without our block, byte for byte what it was before. */
export function withoutBlock(text: string): string {
  const found = findBlock(text)
  return found === null ? text : text.slice(0, found.start) + text.slice(found.stop)
}

/**
 * Why a block for the domain can't be put into the text; null: it can.
 * @param text a Corefile
 */
export function refusal(text: string, domain: string): string | null {
  const keys = serverKeys(withoutBlock(text))
  if (keys === null)
    return 'it has no braces around its one server block, so nothing can stand beside it; put them there'
  const taken = keys.find((key) => zoneOf(key) === domain.toLowerCase())
  return taken === undefined ? null : `it has a block for ${taken} already, which is not ours; take it out`
}

/** Zone of a server block's key such as `dns://mesh.internal.:53`. */
function zoneOf(key: string): string {
  return key
    .replace(/^[a-z]+:\/\//, '')
    .replace(/:\d+$/, '')
    .replace(/\.$/, '')
    .toLowerCase()
}

/** Keys of the server blocks; null if directives stand outside of braces. */
function serverKeys(text: string): string[] | null {
  const keys: string[] = []
  let depth = 0
  for (const line of text.split('\n')) {
    const words = wordsOf(line)
    if (depth === 0 && words.length > 0 && words[0] !== 'import') {
      // The keys of a block may go on in the next line, behind a comma.
      if (words.at(-1) !== '{' && !words.at(-1)!.endsWith(',')) return null
      keys.push(...words.flatMap((word) => word.split(',')).filter((key) => key !== '' && key !== '{'))
    }
    depth += words.filter((word) => word === '{').length - words.filter((word) => word === '}').length
  }
  return keys
}

/** Words of a line, without its comment. */
function wordsOf(line: string): string[] {
  const words = line.split(/\s+/).filter((word) => word !== '')
  const comment = words.findIndex((word) => word.startsWith('#'))
  return comment < 0 ? words : words.slice(0, comment)
}

/** Whether CoreDNS reads a changed Corefile by itself. */
export function isReloading(text: string): boolean {
  return text.split('\n').some((line) => wordsOf(line)[0] === 'reload')
}

/** Whether it imports server blocks of the ConfigMap `coredns-custom`, as AKS and k3s have it. */
export function importsCustom(text: string): boolean {
  return text.split('\n').some((line) => {
    const [directive, files = ''] = wordsOf(line)
    return directive === 'import' && /\/custom\/.*\.server$/.test(files)
  })
}
