// The Services that the controller keeps in the cluster: the mesh Service, a shadow Service for each dedicated address, an
// alias for each enrolled Service (DESIGN.md section 4). Only the fields that we set; update/ writes them.

/** A Service as it should be; fields that are absent are not ours. */
export interface DesiredService {
  apiVersion: 'v1'
  kind: 'Service'
  metadata: {
    name: string
    namespace: string
    labels: Record<string, string>
    annotations: Record<string, string>
    ownerReferences?: { apiVersion: string; kind: string; name: string; uid: string }[]
  }
  spec:
    | { type: 'ExternalName'; externalName: string }
    | {
        type: 'ClusterIP'
        internalTrafficPolicy: 'Local'
        selector: Record<string, string>
        ports: { name: string; protocol: 'TCP'; port: number; targetPort: number }[]
      }
}
