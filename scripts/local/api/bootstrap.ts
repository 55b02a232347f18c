// What a cluster has from the start: its namespaces, the `kubernetes` Service, and in each namespace a ServiceAccount
// `default` and the ConfigMap with the API's certificate.

import type { Backend } from './backend.ts'
import type { NewObject } from './store.ts'
import { createObject } from './write.ts'

const namespaces = ['default', 'kube-node-lease', 'kube-public', 'kube-system']

/** Fills an empty backend, and every namespace that comes later. */
export function bootstrap(backend: Backend, certificate: string): void {
  const create = (object: NewObject & { metadata: { name: string } }) => {
    const kind = backend.kinds.of(object.apiVersion, object.kind)!
    const { name, namespace } = object.metadata
    if (backend.storage.get(kind.storage, namespace, name) !== undefined) return
    createObject(backend, kind, namespace, object, { manager: 'kube-apiserver' })
  }
  const furnish = (namespace: string) => {
    create({ apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'default', namespace } })
    const metadata = { name: 'kube-root-ca.crt', namespace }
    create({ apiVersion: 'v1', kind: 'ConfigMap', metadata, data: { 'ca.crt': certificate } })
  }
  backend.storage.subscribe(({ storage, type, object }) => {
    if (storage === '/namespaces' && type === 'ADDED') furnish(object.metadata.name)
  })
  for (const name of namespaces) create({ apiVersion: 'v1', kind: 'Namespace', metadata: { name } })
  const firstAddress = backend.serviceCidr.replace(/\.\d+\/\d+$/, '.1')
  create({
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'kubernetes', namespace: 'default' },
    spec: { clusterIP: firstAddress, ports: [{ name: 'https', port: 443, protocol: 'TCP', targetPort: 6443 }] },
  })
}
