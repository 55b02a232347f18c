// What a user of Traefik Mesh has in a cluster: the objects of its documentation, in their versions, and Services with all
// of its annotations, some behind its older prefix.

export const traefikMesh = `
apiVersion: v1
kind: Service
metadata:
  name: server
  namespace: server
  annotations:
    mesh.traefik.io/traffic-type: "http"
    mesh.traefik.io/scheme: "http"
    mesh.traefik.io/retry-attempts: "2"
    mesh.traefik.io/circuit-breaker-expression: "NetworkErrorRatio() > 0.30"
    mesh.traefik.io/ratelimit-average: "100"
    mesh.traefik.io/ratelimit-burst: "200"
spec:
  selector: {app: server-v1}
  ports: [{name: web, port: 8080, targetPort: 9898}]
---
apiVersion: v1
kind: Service
metadata:
  name: server-v1
  namespace: server
  annotations: {maesh.containo.us/circuit-breaker-expression: "ResponseCodeRatio(500, 600, 0, 600) > 0.25"}
spec:
  selector: {app: server-v1}
  ports: [{name: web, port: 8080, targetPort: 9898}]
---
apiVersion: v1
kind: Service
metadata: {name: server-v2, namespace: server}
spec:
  selector: {app: server-v2}
  ports: [{name: web, port: 8080, targetPort: 9898}]
---
apiVersion: specs.smi-spec.io/v1alpha3
kind: HTTPRouteGroup
metadata:
  name: server-routes
  namespace: server
spec:
  matches:
    - name: api
      pathRegex: /api
      methods: ["*"]
    - name: metrics
      pathRegex: /metrics
      methods: ["GET"]
---
apiVersion: access.smi-spec.io/v1alpha2
kind: TrafficTarget
metadata:
  name: client-server-target
  namespace: server
spec:
  destination:
    kind: ServiceAccount
    name: server
    namespace: server
  rules:
    - kind: HTTPRouteGroup
      name: server-routes
      matches:
        - api
  sources:
    - kind: ServiceAccount
      name: client
      namespace: client
---
apiVersion: split.smi-spec.io/v1alpha3
kind: TrafficSplit
metadata:
  name: server-split
  namespace: server
spec:
  service: server
  backends:
    - service: server-v1
      weight: 80
    - service: server-v2
      weight: 20
`
