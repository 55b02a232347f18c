// A Kubernetes API for suites: the local one always, and a real kube-apiserver when KUBEBUILDER_ASSETS names a folder with
// `etcd` and `kube-apiserver`. Suites run for each of `backends`; where the two differ, the local one is wrong.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Agent, request as send } from 'undici'
import { parse } from 'yaml'
import { startApi } from '../../scripts/local/api/server.ts'
import { startKubeApiserver } from './kubeapiserver.ts'
import { until } from './until.ts'

/** A JSON object of the API; tests look into it freely. */
// biome-ignore lint/suspicious/noExplicitAny: assertions on responses would otherwise be casts alone
export type Body = any

export interface Answer {
  status: number
  body: Body
  headers: Record<string, string | string[] | undefined>
}

export interface WatchStream {
  /** The next event; rejects when the stream ends without one. */
  next(): Promise<{ type: string; object: Body }>
  /** All events until the server ends the stream. */
  rest(): Promise<{ type: string; object: Body }[]>
  close(): void
}

export interface TestApi {
  name: 'local' | 'real'
  url: string
  /** Path of the administrator's kubeconfig. */
  kubeconfig: string
  /** A JSON request; any status is an answer. A patch's media type goes in `headers`. */
  request(method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<Answer>
  watch(path: string, headers?: Record<string, string>): Promise<WatchStream>
  /** Creates a namespace with a name of its own. */
  namespace(): Promise<string>
  /** Creates a CustomResourceDefinition (or none, if it is there) and waits until its kinds are served. */
  define(definition: Body): Promise<void>
  /** Makes watches from versions before now impossible; only the local API can. */
  compact?(): void
}

export interface Backend {
  name: 'local' | 'real'
  start(): Promise<{ api: TestApi; stop: () => Promise<void> }>
}

const assets = process.env['KUBEBUILDER_ASSETS']

/** What suites run against. */
export const backends: readonly Backend[] = [
  { name: 'local', start: startLocal },
  ...(assets === undefined ? [] : [{ name: 'real' as const, start: () => startReal(assets) }]),
]

/** Gives a suite an API: starts it before the suite's tests and ends it after them. */
export function withApi(backend: Backend): () => TestApi {
  let running: Awaited<ReturnType<Backend['start']>> | undefined
  before(async function () {
    this.timeout(60_000)
    running = await backend.start()
  })
  after(() => running?.stop())
  return () => {
    if (running === undefined) throw new Error('the API is there only while tests run')
    return running.api
  }
}

async function startLocal() {
  const local = await startApi()
  const folder = mkdtempSync(join(tmpdir(), 'weft-api-'))
  const api = connect('local', local.kubeconfig(), folder)
  api.compact = () => local.store.compact()
  return {
    api,
    stop: async () => {
      await local.close()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

let real: Promise<TestApi> | undefined

/** One for all suites of the process: it takes seconds to start. It ends with the process. */
async function startReal(folder: string) {
  real ??= startKubeApiserver(folder).then((started) => connect('real', started.kubeconfig, started.folder))
  return { api: await real, stop: async () => {} }
}

function connect(name: TestApi['name'], kubeconfig: string, folder: string): TestApi {
  const path = join(folder, 'kubeconfig')
  writeFileSync(path, kubeconfig, { mode: 0o600 })
  const config = parse(kubeconfig) as Body
  const { server, 'certificate-authority-data': authority } = config.clusters[0].cluster
  const token: string = config.users[0].user.token
  const dispatcher = new Agent({ connect: { ca: Buffer.from(authority, 'base64').toString() } })
  const headersWith = (extra: Record<string, string>) => ({
    authorization: `Bearer ${token}`,
    accept: 'application/json',
    ...extra,
  })

  const request: TestApi['request'] = async (method, target, body, headers = {}) => {
    const response = await send(server + target, {
      dispatcher,
      method: method as 'GET',
      headers: headersWith(body === undefined ? headers : { 'content-type': 'application/json', ...headers }),
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    })
    const text = await response.body.text()
    const isJson = String(response.headers['content-type']).includes('json')
    return { status: response.statusCode, body: isJson ? JSON.parse(text) : text, headers: response.headers }
  }

  return {
    name,
    url: server,
    kubeconfig: path,
    request,
    async watch(target, headers = {}) {
      const ask = () => send(server + target, { dispatcher, headers: headersWith(headers) })
      let response = await ask()
      // The real server's watch cache takes a moment for a kind that was just defined.
      await until(async () => {
        if (response.statusCode !== 429) return true
        await response.body.dump()
        response = await ask()
        return false
      }, 'the watch cache')
      if (response.statusCode !== 200) throw new Error(`watch: ${response.statusCode} ${await response.body.text()}`)
      return streamOf(response.body)
    },
    async namespace() {
      const metadata = { generateName: 'test-' }
      const { body } = await request('POST', '/api/v1/namespaces', { apiVersion: 'v1', kind: 'Namespace', metadata })
      return body.metadata.name
    },
    async define(definition) {
      const root = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions'
      const answer = await request('POST', root, definition)
      if (answer.status !== 201 && answer.status !== 409) throw new Error(answer.body.message)
      const { group, names, versions } = definition.spec
      for (const { name: version, served } of versions) {
        const target = `/apis/${group}/${version}/${names.plural}`
        if (served) await until(async () => (await request('GET', target)).status === 200, `serving ${target}`)
      }
    },
  }
}

function streamOf(body: Awaited<ReturnType<typeof send>>['body']): WatchStream {
  const events = linesOf(body)
  return {
    async next() {
      const { value, done } = await events.next()
      if (done === true) throw new Error('the watch ended')
      return value
    },
    async rest() {
      const all: { type: string; object: Body }[] = []
      for await (const event of events) all.push(event)
      return all
    },
    close: () => {
      body.on('error', () => {})
      body.destroy()
    },
  }
}

async function* linesOf(body: AsyncIterable<Buffer>): AsyncGenerator<{ type: string; object: Body }> {
  let text = ''
  for await (const chunk of body) {
    text += chunk.toString()
    const lines = text.split('\n')
    text = lines.pop() ?? ''
    for (const line of lines) yield JSON.parse(line)
  }
}
