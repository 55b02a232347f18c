// Reads an agent's report from a request; strict, because it ends up in logs and dumps.

import type { IncomingMessage } from 'node:http'
import type { Report } from '../contract/messages.ts'

const limitBytes = 16 << 10

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

function checkReport(value: unknown): Report | string {
  if (!isRecord(value)) return 'the report is not an object'
  const { node, pod, version, error } = value
  for (const [name, field] of Object.entries({ node, pod, version })) {
    if (typeof field !== 'string' || field.length > 300)
      return `field "${name}" must be a string of at most 300 characters`
  }
  if (node === '' || pod === '') return 'fields "node" and "pod" must not be empty'
  const texts = { node: node as string, pod: pod as string, version: version as string }
  if (error === null) return { ...texts, error: null }
  if (!isRecord(error) || typeof error['version'] !== 'string' || typeof error['message'] !== 'string') {
    return 'field "error" must be null or {version, message}'
  }
  return { ...texts, error: { version: error['version'], message: error['message'] } }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
