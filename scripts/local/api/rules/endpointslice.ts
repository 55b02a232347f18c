// EndpointSlices: empty lists are null, as the real API server sends them; ports and endpoints are checked.

import { type FieldError, required, unsupported, wrong } from '../errors.ts'
import type { AnyObject } from '../object.ts'
import type { Rules } from './index.ts'

interface Slice {
  addressType?: string
  endpoints?: { addresses?: string[] }[] | null
  ports?: { name?: string; port?: number; protocol?: string }[] | null
}

const addressTypes = ['IPv4', 'IPv6', 'FQDN']
const maxEndpoints = 1000

function checkSlice(object: AnyObject, old: AnyObject | undefined): FieldError[] {
  const slice = object as Slice
  const errors: FieldError[] = []
  if (slice.addressType === undefined) errors.push(required('addressType'))
  else if (!addressTypes.includes(slice.addressType)) {
    errors.push(unsupported('addressType', slice.addressType, addressTypes))
  }
  if (old !== undefined && (old as Slice).addressType !== slice.addressType) {
    errors.push(wrong('addressType', slice.addressType, 'field is immutable'))
  }
  const endpoints = slice.endpoints ?? []
  if (endpoints.length > maxEndpoints) {
    const message = `Too many: ${endpoints.length}: must have at most ${maxEndpoints} items`
    errors.push({ reason: 'FieldValueInvalid', field: 'endpoints', message })
  }
  for (const [i, { addresses }] of endpoints.entries()) {
    if ((addresses ?? []).length === 0) {
      errors.push(required(`endpoints[${i}].addresses`, 'must contain at least 1 address'))
    }
  }
  return errors
}

export const endpointSliceRules: Rules = {
  fill(object) {
    const slice = object as Slice
    slice.endpoints ??= null
    slice.ports ??= null
    for (const port of slice.ports ?? []) {
      port.name ??= ''
      port.protocol ??= 'TCP'
    }
  },
  check: checkSlice,
}
