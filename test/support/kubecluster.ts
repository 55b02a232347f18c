// Suites of the controller against every Kubernetes API at hand, with our CRDs in it.

import { readdirSync, readFileSync } from 'node:fs'
import { KubeConfig } from '@kubernetes/client-node'
import { parse } from 'yaml'
import { openCluster } from '../../controller/observe/access.ts'
import { type Api, openApi } from '../../controller/observe/api.ts'
import { backends, type TestApi, withApi } from './api.ts'
import { type Objects, openObjects } from './kubeobjects.ts'

/** What there is while tests run. */
export interface KubeCluster {
  name: TestApi['name']
  /** Path of the administrator's kubeconfig. */
  kubeconfig: string
  /** The controller's own client, with the administrator's rights. */
  api: Api
  objects: Objects
  test: TestApi
}

const crds = new URL('../../manifests/crds/', import.meta.url)

/** Defines a suite for each backend. @param options.crds false: the cluster starts without the SMI kinds */
export function eachCluster(
  title: string,
  define: (cluster: KubeCluster) => void,
  options: { crds?: boolean; only?: TestApi['name'] } = {},
): void {
  for (const backend of backends) {
    if (options.only !== undefined && options.only !== backend.name) continue
    describe(`${title} (${backend.name} API)`, () => {
      const get = withApi(backend)
      const cluster = { name: backend.name } as KubeCluster
      before(async () => {
        const test = get()
        const config = new KubeConfig()
        config.loadFromFile(test.kubeconfig)
        const api = openApi(openCluster(config))
        Object.assign(cluster, { kubeconfig: test.kubeconfig, api, objects: openObjects(api), test })
        if (options.crds !== false) await defineCrds(test)
      })
      after(() => cluster.api.close())
      define(cluster)
    })
  }
}

/** Installs our CRDs, if they are not there. */
export async function defineCrds(test: TestApi): Promise<void> {
  for (const file of readdirSync(crds)) {
    const definition = parse(readFileSync(new URL(file, crds), 'utf8'))
    if (definition.kind === 'CustomResourceDefinition') await test.define(definition)
  }
}
