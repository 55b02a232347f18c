// Secrets: a type, and stringData, which is only ever written and becomes data.

import { wrong } from '../errors.ts'
import { sub } from '../object.ts'
import type { Rules } from './index.ts'

export const secretRules: Rules = {
  fill(object) {
    object['type'] ??= 'Opaque'
    const texts = Object.entries(sub(object, 'stringData'))
    delete object['stringData']
    if (texts.length === 0) return
    const encoded = texts.map(([name, text]) => [name, Buffer.from(String(text)).toString('base64')])
    object['data'] = { ...sub(object, 'data'), ...Object.fromEntries(encoded) }
  },
  check(object, old) {
    if (old === undefined || old['type'] === object['type']) return []
    return [wrong('type', object['type'], 'field is immutable')]
  },
}
