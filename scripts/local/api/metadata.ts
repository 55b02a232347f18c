// The rules for metadata that hold for every kind: what the system sets, what can't be changed, which names are allowed.

import { randomBytes, randomUUID } from 'node:crypto'
import { type FieldError, notAllowed, required, wrong } from './errors.ts'
import type { Kind } from './kinds.ts'
import { type AnyObject, type Meta, type OwnerReference, timestamp } from './object.ts'

// No vowels, and no digits that look like them: generated names never spell a word.
const suffixAlphabet = 'bcdfghjklmnpqrstvwxz2456789'
const suffixLength = 5
const maxGeneratedBase = 63 - suffixLength

const label = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/
const label1035 = /^[a-z]([-a-z0-9]*[a-z0-9])?$/
const subdomain = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/
const qualifiedPart = /^([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$/
const labelValue = /^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$/

/** Kinds whose names become DNS labels, and with that shorter than a subdomain. */
const nameRules: Record<string, 'label' | 'label1035' | 'path'> = {
  '/namespaces': 'label',
  '/services': 'label1035',
  'rbac.authorization.k8s.io/clusterroles': 'path',
  'rbac.authorization.k8s.io/clusterrolebindings': 'path',
  'rbac.authorization.k8s.io/roles': 'path',
  'rbac.authorization.k8s.io/rolebindings': 'path',
}

/** Gives a new object its name (from generateName if need be), uid, time of creation and first generation. */
export function initMeta(object: AnyObject, kind: Kind, namespace: string | undefined): void {
  const given = object.metadata
  const meta: Meta = { ...given, uid: randomUUID(), creationTimestamp: timestamp(), resourceVersion: '' }
  for (const field of ['deletionTimestamp', 'deletionGracePeriodSeconds', 'generation', 'managedFields'] as const) {
    delete meta[field]
  }
  if (namespace === undefined) delete meta.namespace
  else meta.namespace = namespace
  if ((meta.name ?? '') === '' && meta.generateName !== undefined) meta.name = generateName(meta.generateName)
  if (kind.hasGeneration) meta.generation = 1
  object.metadata = meta
}

function generateName(base: string): string {
  const suffix = Array.from(randomBytes(suffixLength), (byte) => suffixAlphabet[byte % suffixAlphabet.length]).join('')
  return base.slice(0, maxGeneratedBase) + suffix
}

/** Carries over to the new state of an object what no client can change. */
export function keepMeta(object: AnyObject, old: AnyObject): void {
  const { name, uid, namespace, creationTimestamp, generateName: base, generation } = old.metadata
  const { deletionTimestamp, deletionGracePeriodSeconds } = old.metadata
  const meta: Meta = { ...object.metadata, name, uid, resourceVersion: old.metadata.resourceVersion }
  const kept = {
    namespace,
    creationTimestamp,
    generateName: base,
    generation,
    deletionTimestamp,
    deletionGracePeriodSeconds,
  }
  for (const [field, value] of Object.entries(kept)) {
    if (value === undefined) delete meta[field as keyof Meta]
    else Object.assign(meta, { [field]: value })
  }
  object.metadata = meta
}

/** What is wrong with an object's metadata. */
export function checkMeta(object: AnyObject, old: AnyObject | undefined, kind: Kind): FieldError[] {
  const { name, labels, annotations, finalizers, ownerReferences } = object.metadata
  const errors: FieldError[] = []
  if ((name ?? '') === '') errors.push(required('metadata.name', 'name or generateName is required'))
  else if (old === undefined) errors.push(...checkName(name, kind))
  for (const [key, value] of Object.entries(labels ?? {})) {
    if (!isQualified(key)) errors.push(wrong('metadata.labels', key, keyHint))
    if (value.length > 63) errors.push({ ...wrong('metadata.labels', value, 'must be no more than 63 bytes') })
    else if (!labelValue.test(value)) errors.push(wrong('metadata.labels', value, valueHint))
  }
  for (const key of Object.keys(annotations ?? {})) {
    if (!isQualified(key.toLowerCase())) errors.push(wrong('metadata.annotations', key, keyHint))
  }
  for (const [i, owner] of (ownerReferences ?? []).entries()) {
    errors.push(...checkOwner(owner, `metadata.ownerReferences[${i}]`))
  }
  if (old?.metadata.deletionTimestamp !== undefined) errors.push(...checkNewFinalizers(finalizers, old))
  return errors
}

function checkOwner(owner: OwnerReference, path: string): FieldError[] {
  const fields = (['apiVersion', 'kind', 'name', 'uid'] as const).filter((field) => (owner[field] ?? '') === '')
  return fields.map((field) => wrong(`${path}.${field}`, '', 'must not be empty'))
}

function checkNewFinalizers(finalizers: string[] | undefined, old: AnyObject): FieldError[] {
  const added = (finalizers ?? []).filter((one) => !(old.metadata.finalizers ?? []).includes(one))
  if (added.length === 0) return []
  const why = `no new finalizers can be added if the object is being deleted, found new finalizers ${JSON.stringify(added)}`
  return [notAllowed('metadata.finalizers', why)]
}

const keyHint =
  "a qualified name must consist of alphanumeric characters, '-', '_' or '.', with an optional DNS subdomain prefix and '/'"
const valueHint =
  "a valid label must be empty or consist of alphanumeric characters, '-', '_' or '.', and start and end with an alphanumeric character"

function isQualified(key: string): boolean {
  const [first = '', second, ...more] = key.split('/')
  if (more.length > 0) return false
  const name = second ?? first
  const hasPrefix = second !== undefined
  if (hasPrefix && (first.length > 253 || !subdomain.test(first))) return false
  return name.length <= 63 && qualifiedPart.test(name)
}

/** What is wrong with a new object's name. */
export function checkName(name: string, kind: Kind, field = 'metadata.name'): FieldError[] {
  const rule = nameRules[kind.storage] ?? 'subdomain'
  if (rule === 'path') {
    return /[/%]/.test(name) || name === '.' || name === '..' ? [wrong(field, name, "may not contain '/' or '%'")] : []
  }
  const errors: FieldError[] = []
  const longest = rule === 'subdomain' ? 253 : 63
  if (name.length > longest) errors.push(wrong(field, name, `must be no more than ${longest} bytes`))
  if (rule === 'subdomain' && !subdomain.test(name)) errors.push(wrong(field, name, subdomainHint))
  if (rule === 'label' && !label.test(name)) errors.push(wrong(field, name, labelHint))
  if (rule === 'label1035' && !label1035.test(name)) errors.push(wrong(field, name, label1035Hint))
  return errors
}

const subdomainHint =
  "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character"
const labelHint =
  "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character"
const label1035Hint =
  "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character"

/** Whether a text is a DNS label (RFC 1123). */
export function isLabel(text: string): boolean {
  return text.length <= 63 && label.test(text)
}

/** Whether a text is a DNS name. */
export function isSubdomain(text: string): boolean {
  return text.length <= 253 && subdomain.test(text)
}
