// Reads an agent's report from a request; strict, because it ends up in logs and dumps.

import type { IncomingMessage } from 'node:http'
import type { CallerNotice, Report } from '../contract/messages.ts'

const limitBytes = 32 << 10

/** @returns the report, or what is wrong with it */
export async function readReport(request: IncomingMessage): Promise<Report | string> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length
    if (bytes > limitBytes) return `the report exceeds ${limitBytes} bytes`
    chunks.push(chunk)
  }
  try {
    return checkReport(JSON.parse(Buffer.concat(chunks).toString()))
  } catch (thrown) {
    return `the report is not JSON: ${(thrown as Error).message}`
  }
}

/** Longest text of a field, in characters. */
const textLimit = 300
/** More than these an agent doesn't tell. */
const noticesLimit = 16
/** An agent uses the certificates of a handful of roots at most. */
const signersLimit = 16

function checkReport(value: unknown): Report | string {
  if (!isRecord(value)) return 'the report is not an object'
  const { node, pod, version, error, trust, signers, notices } = value
  for (const [name, field] of Object.entries({ node, pod, version, ...(trust === undefined ? {} : { trust }) })) {
    if (!isText(field)) return `field "${name}" must be a string of at most ${textLimit} characters`
  }
  if (node === '' || pod === '') return 'fields "node" and "pod" must not be empty'
  if (error !== null && !isFailure(error)) return 'field "error" must be null or {version, message}'
  if (signers !== undefined && !isTexts(signers)) {
    return `field "signers" must be a list of at most ${signersLimit} strings`
  }
  if (notices !== undefined && !isNotices(notices)) {
    return `field "notices" must be a list of at most ${noticesLimit} of {kind, pod, podUid, port, service}`
  }
  return {
    node: node as string,
    pod: pod as string,
    version: version as string,
    error: error === null ? null : { version: error.version, message: error.message },
    ...(trust === undefined ? {} : { trust: trust as string }),
    ...(signers === undefined ? {} : { signers }),
    ...(notices === undefined ? {} : { notices: notices.map(cleanNotice) }),
  }
}

function isNotices(value: unknown): value is CallerNotice[] {
  return Array.isArray(value) && value.length <= noticesLimit && value.every(isNotice)
}

function isNotice(value: unknown): value is CallerNotice {
  if (!isRecord(value)) return false
  const { kind, pod, podUid, port, service } = value
  const isKind = kind === 'tls-on-http' || kind === 'h2-on-shared'
  const isPort = typeof port === 'number' && Number.isInteger(port) && port >= 0 && port <= 65_535
  return isKind && isPort && isText(pod) && isText(podUid) && isText(service)
}

/** Nothing but the known fields is kept. */
function cleanNotice({ kind, pod, podUid, port, service }: CallerNotice): CallerNotice {
  return { kind, pod, podUid, port, service }
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value.length <= textLimit
}

function isTexts(value: unknown): value is string[] {
  return Array.isArray(value) && value.length <= signersLimit && value.every(isText)
}

function isFailure(value: unknown): value is { version: string; message: string } {
  return isRecord(value) && typeof value['version'] === 'string' && typeof value['message'] === 'string'
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
