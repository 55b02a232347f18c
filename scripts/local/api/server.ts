// The in-memory Kubernetes API of local mode: an HTTPS server that kubectl and @kubernetes/client-node can talk to, and the
// same objects for code in this process. A stand-in, but where controllers and kubectl meet it, it behaves as the real one.

import { randomBytes } from 'node:crypto'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import type { Duplex, Readable } from 'node:stream'
import { stringify } from 'yaml'
import type { Backend } from './backend.ts'
import { bootstrap } from './bootstrap.ts'
import { addBuiltins } from './builtin.ts'
import { selfSigned } from './certificate.ts'
import { collectGarbage } from './collect.ts'
import { serveDefinitions } from './crds.ts'
import { notFound } from './errors.ts'
import { createForwarder, createHandler, type LogRequest } from './http/serve.ts'
import { createKinds } from './kinds.ts'
import { createStorage } from './storage.ts'
import { createStore, type Store } from './store.ts'
import { createTokens, type IssuedToken, type TokenSpec } from './tokens.ts'

export interface ApiOptions {
  /** Loopback unless told otherwise: whoever can reach the API and has its token may run programs. */
  host?: string
  /** 0 (the default) takes any that is free. */
  port?: number
  serviceCidr?: string
  /** How many changes a watch may be behind before it gets 410. */
  historyLength?: number
}

export interface Api {
  /** Such as https://127.0.0.1:6443. */
  url: string
  /**
   * A kubeconfig as YAML, with the certificate and the token that the API demands.
   * @param token whose it is, such as a pod's; the administrator's if it is left out
   */
  kubeconfig(token?: string): string
  /**
   * Issues a token for a ServiceAccount, as its token subresource does.
   * @throws ApiError 404, 409, 422
   */
  issueToken(namespace: string, account: string, spec: TokenSpec): IssuedToken
  store: Store
  /** Lets `kubectl logs` read: the kubelet stand-in gives the output of a pod's container. */
  provideLogs(provider: (request: LogRequest) => Readable): void
  close(): Promise<void>
}

/**
 * Starts an API with nothing in it but what every cluster has.
 * @throws Error (EADDRINUSE …) if it can't listen
 */
export async function startApi(options: ApiOptions = {}): Promise<Api> {
  const { host = '127.0.0.1', port = 0, serviceCidr = '127.96.0.0/16', historyLength = 5000 } = options
  const backend: Backend = {
    kinds: createKinds(),
    storage: createStorage(historyLength),
    serviceCidr,
    addressCursor: 0,
  }
  const { cert, key } = selfSigned(host)
  addBuiltins(backend.kinds)
  serveDefinitions(backend)
  bootstrap(backend, cert)
  const stopCollecting = collectGarbage(backend)
  const tokens = createTokens(backend)
  const adminToken = randomBytes(24).toString('base64url')
  let logs: ((request: LogRequest) => Readable) | undefined

  // TLS and a token even on loopback: the API can start programs, and neither other users of the machine nor a web page in
  // the user's browser may ask it to. (kubectl sends no token over plain HTTP.)
  const server = createServer({ cert, key, keepAliveTimeout: 60_000, requestTimeout: 0 })
  const serving = { backend, tokens, adminToken, logs: () => logs }
  server.on('request', createHandler(serving))
  const forwards = new Set<Duplex>()
  const forward = createForwarder(serving)
  server.on('upgrade', (request, socket) => {
    forwards.add(socket)
    socket.on('close', () => forwards.delete(socket))
    forward(request, socket)
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, resolve)
  })
  const url = `https://${host}:${(server.address() as AddressInfo).port}`

  const kubeconfig = (token = adminToken) =>
    stringify({
      apiVersion: 'v1',
      kind: 'Config',
      clusters: [
        { name: 'weft', cluster: { server: url, 'certificate-authority-data': Buffer.from(cert).toString('base64') } },
      ],
      users: [{ name: 'weft', user: { token } }],
      contexts: [{ name: 'weft', context: { cluster: 'weft', user: 'weft', namespace: 'default' } }],
      'current-context': 'weft',
    })

  return {
    url,
    kubeconfig,
    issueToken(namespace, name, spec) {
      const kind = backend.kinds.named('ServiceAccount')
      const account = backend.storage.get(kind.storage, namespace, name)
      if (account === undefined) throw notFound(kind, name)
      return tokens.issue(kind, account, { spec })['status'] as IssuedToken
    },
    store: createStore(backend),
    provideLogs(provider) {
      logs = provider
    },
    async close() {
      stopCollecting()
      server.closeAllConnections()
      for (const socket of forwards) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
