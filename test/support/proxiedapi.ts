// A Kubernetes API behind a proxy that breaks on demand (faultproxy.ts), for those who follow it.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { KubeConfig } from '@kubernetes/client-node'
import { openCluster } from '../../controller/observe/access.ts'
import { type Api, openApi } from '../../controller/observe/api.ts'
import { type Fault, startFaultProxy } from './faultproxy.ts'

export interface ProxiedApi {
  /** Path of a kubeconfig that leads through the proxy. */
  kubeconfig: string
  /** The controller's own client, through the proxy. */
  api: Api
  set(fault: Fault): void
  close(): Promise<void>
}

/** Puts a proxy before the API server of a kubeconfig, which has to be on 127.0.0.1. */
export async function proxyApi(kubeconfig: string): Promise<ProxiedApi> {
  const text = readFileSync(kubeconfig, 'utf8')
  const original = new KubeConfig()
  original.loadFromString(text)
  const { server } = original.getCurrentCluster()!
  const url = new URL(server)
  if (url.hostname !== '127.0.0.1') throw new Error(`${server} is not on 127.0.0.1`)
  const proxy = await startFaultProxy(Number(url.port))
  const folder = mkdtempSync(join(tmpdir(), 'weft-proxied-'))
  const path = join(folder, 'kubeconfig')
  url.port = String(proxy.port)
  writeFileSync(path, text.replaceAll(server, url.href.replace(/\/$/, '')), { mode: 0o600 })
  const config = new KubeConfig()
  config.loadFromFile(path)
  const api = openApi(openCluster(config))
  return {
    kubeconfig: path,
    api,
    set: proxy.set,
    async close() {
      await api.close()
      await proxy.close()
      rmSync(folder, { recursive: true })
    },
  }
}
