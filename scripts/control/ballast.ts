// Fields that real objects have and the controller drops: a list of pods is mostly this, and reading it is part of the cost.

const probe = { httpGet: { path: '/health', port: 8080, scheme: 'HTTP' }, timeoutSeconds: 1, periodSeconds: 10 }

const mounted = [
  { name: 'config', mountPath: '/etc/app' },
  { name: 'kube-api-access', readOnly: true, mountPath: '/var/run/secrets/kubernetes.io/serviceaccount' },
]

const env = ['LOG_LEVEL', 'HTTP_PORT', 'DATABASE_HOST', 'CACHE_HOST', 'TRACE_ENDPOINT', 'REGION'].map((name) => ({
  name,
  value: `${name.toLowerCase()}.value.of.an.ordinary.length`,
}))

const container = {
  name: 'app',
  image: 'example/app:v1.2.3',
  ports: [{ name: 'main', containerPort: 8080, protocol: 'TCP' }],
  env,
  resources: { requests: { cpu: '100m', memory: '128Mi' }, limits: { memory: '256Mi' } },
  volumeMounts: mounted,
  livenessProbe: probe,
  readinessProbe: probe,
  terminationMessagePath: '/dev/termination-log',
  terminationMessagePolicy: 'File',
  imagePullPolicy: 'IfNotPresent',
}

/** As server-side apply writes them: a tree with a leaf for each field that somebody set. */
function fieldTree(names: readonly string[]): object {
  return Object.fromEntries(names.map((name) => [`f:${name}`, { '.': {}, [`k:{"name":"${name}"}`]: { '.': {} } }]))
}

const specFields = [
  'containers',
  'dnsPolicy',
  'enableServiceLinks',
  'restartPolicy',
  'schedulerName',
  'volumes',
  'ports',
]
const statusFields = ['conditions', 'containerStatuses', 'hostIP', 'phase', 'podIP', 'podIPs', 'startTime']

export const ballast = {
  managedFields: [
    ['kube-controller-manager', specFields],
    ['kubelet', statusFields],
  ].map(([manager, fields]) => ({
    manager,
    operation: 'Update',
    apiVersion: 'v1',
    time: '2026-11-01T00:00:00Z',
    fieldsType: 'FieldsV1',
    fieldsV1: fieldTree(fields as string[]),
  })),
  podSpec: {
    containers: [container],
    volumes: [
      { name: 'config', configMap: { name: 'app-config', defaultMode: 420 } },
      { name: 'kube-api-access', projected: { sources: [{ serviceAccountToken: { path: 'token' } }] } },
    ],
    restartPolicy: 'Always',
    terminationGracePeriodSeconds: 30,
    dnsPolicy: 'ClusterFirst',
    securityContext: {},
    schedulerName: 'default-scheduler',
    tolerations: [{ key: 'node.kubernetes.io/not-ready', operator: 'Exists', effect: 'NoExecute' }],
    priority: 0,
    enableServiceLinks: true,
  },
  podStatus: {
    containerStatuses: [
      {
        name: 'app',
        state: { running: { startedAt: '2026-11-01T00:00:05Z' } },
        lastState: {},
        ready: true,
        restartCount: 0,
        image: 'example/app:v1.2.3',
        imageID: 'example/app@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef',
        started: true,
      },
    ],
    qosClass: 'Burstable',
  },
  serviceSpec: { sessionAffinity: 'None', ipFamilies: ['IPv4'], ipFamilyPolicy: 'SingleStack' },
  node: {
    capacity: { cpu: '16', memory: '64Gi', pods: '110' },
    images: Array.from({ length: 20 }, (_, index) => ({
      names: [`example/image-${index}:v1`],
      sizeBytes: 123_456_789,
    })),
    nodeInfo: { kernelVersion: '6.8.0', osImage: 'Linux', kubeletVersion: 'v1.34.0' },
  },
}

export function owners(name: string): object[] {
  return [
    { apiVersion: 'apps/v1', kind: 'ReplicaSet', name, uid: `uid-${name}`, controller: true, blockOwnerDeletion: true },
  ]
}
