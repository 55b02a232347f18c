// What a path of the API means: a kind, and in it all objects, those of a namespace, or one object or a subresource of it.

import { badRequest, noSuchPath } from '../errors.ts'
import type { Kind, Kinds, Subresource } from '../kinds.ts'

export interface Target {
  kind: Kind
  namespace?: string
  name?: string
  subresource?: Subresource
}

/**
 * Reads a path such as /apis/apps/v1/namespaces/shop/deployments/reviews/scale.
 * @throws ApiError 404 if nothing is served there, 400 if it can't be read
 */
export function parsePath(path: string, kinds: Kinds): Target {
  const [root, ...rest] = path.split('/').slice(1).map(decode)
  const group = root === 'apis' ? rest.shift() : ''
  const version = rest.shift()
  if ((root !== 'api' && root !== 'apis') || group === undefined || version === undefined) throw noSuchPath()
  const find = (plural: string | undefined): Kind => {
    const kind = kinds.find(group, version, plural ?? '')
    if (kind === undefined) throw noSuchPath()
    return kind
  }
  // .../namespaces/shop/status is the Namespace itself; anything longer, or another word, is in it.
  const isOfNamespace = rest[0] === 'namespaces' && rest.length >= 3 && !(rest.length === 3 && rest[2] === 'status')
  if (!isOfNamespace) {
    const [plural, name, subresource] = rest
    const kind = find(plural)
    // An object in a namespace is found nowhere else.
    if (kind.namespaced && name !== undefined) throw noSuchPath()
    return target(kind, undefined, name, subresource, rest.length)
  }
  const [, namespace, plural, name, subresource] = rest
  const kind = find(plural)
  if (!kind.namespaced) throw noSuchPath()
  return target(kind, namespace, name, subresource, rest.length - 2)
}

function decode(step: string): string {
  try {
    return decodeURIComponent(step)
  } catch {
    throw badRequest(`the path has a broken escape in ${JSON.stringify(step)}`)
  }
}

function target(
  kind: Kind,
  namespace: string | undefined,
  name: string | undefined,
  subresource: string | undefined,
  depth: number,
): Target {
  const isKnown = subresource === undefined || kind.subresources.includes(subresource as Subresource)
  if (!isKnown || depth > 3) throw noSuchPath()
  return {
    kind,
    ...(namespace === undefined ? {} : { namespace }),
    ...(name === undefined ? {} : { name }),
    ...(subresource === undefined ? {} : { subresource: subresource as Subresource }),
  }
}
