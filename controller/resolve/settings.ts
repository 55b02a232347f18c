// What `resolve` and `translate` are told besides the objects: the controller's flags, as plain data.

import type { AccessMode } from '../contract/resources.ts'

export interface Settings {
  trustDomain: string
  /** The cluster's DNS domain, e.g. `cluster.local`. */
  clusterDomain: string
  /** The mesh's optional DNS domain, e.g. `mesh.internal`. */
  meshDomain: string
  /** What an alias adds to a Service's name, e.g. `-mesh`. */
  aliasSuffix: string
  /** The mesh's own namespace: nothing in it is ever enrolled. */
  namespace: string
  /** Name of the mesh Service in it. */
  meshService: string
  /** Labels of the agents' pods in it. */
  agentSelector: Record<string, string>
  /** The range that mesh ports are taken from, both ends included. */
  meshPorts: { first: number; last: number }
  entryPort: number
  hbonePort: number
  defaultAccess: AccessMode
  /** Namespaces that are never in the mesh, besides its own. */
  excludedNamespaces: string[]
  /** CIDRs in which endpoints may lie that belong to no pod; empty: nowhere. */
  foreignCidrs: string[]
  /** Host names that ExternalName Services may point to; a leading `*.` stands for any label in front. */
  foreignHosts: string[]
  /** Addresses of API servers, besides those that the Service `default/kubernetes` shows. */
  apiServers: string[]
}

/** The settings of a controller without flags. */
export const defaultSettings: Settings = {
  trustDomain: 'cluster.local',
  clusterDomain: 'cluster.local',
  meshDomain: 'mesh.internal',
  aliasSuffix: '-mesh',
  namespace: 'weft-system',
  meshService: 'weft',
  agentSelector: { 'app.kubernetes.io/name': 'weft-agent' },
  meshPorts: { first: 16384, last: 32767 },
  entryPort: 15001,
  hbonePort: 15008,
  defaultAccess: 'allow',
  excludedNamespaces: ['kube-system', 'kube-public', 'kube-node-lease'],
  foreignCidrs: [],
  foreignHosts: [],
  apiServers: [],
}
