// What `npm start` prints when all is up: commands to paste, with the addresses of this run.

import { relative } from 'node:path'
import type { LocalMesh } from './mesh.ts'
import type { Pod } from './objects.ts'

/** The text for a terminal, with how long the start took. */
export function guide(mesh: LocalMesh, options: { hasDemo: boolean; seconds: number }): string {
  const [kubeconfig, logs] = [mesh.kubeconfig, mesh.logFolder].map(shorten)
  const [page] = mesh.pods('shop', { app: 'productpage' })
  const agents = mesh.pods('weft-system', { 'app.kubernetes.io/name': 'weft-agent' })
  // The one that answers the commands above it, if there are any.
  const agent = agents.find(({ spec }) => spec.nodeName === page?.spec.nodeName) ?? agents[0]
  const lines = [
    '',
    `The mesh is up after ${options.seconds.toFixed(1)} s. It runs until Ctrl-C. What to try, in another terminal:`,
    '',
    '# the cluster',
    `export KUBECONFIG=${kubeconfig}`,
    'kubectl get pods -A -o wide',
    ...(options.hasDemo ? shop(mesh) : []),
    '',
    '# where to look',
    `ls ${logs}    # one file for each container`,
    ...(agent ? [`curl -s http://${addressOf(agent)}:15020/metrics    # the agent of ${agent.spec.nodeName}`] : []),
    '',
  ]
  return lines.join('\n')
}

/** A path as it can be pasted: from here where it lies below. */
function shorten(path: string): string {
  const below = relative(process.cwd(), path)
  return below.startsWith('..') ? path : `$PWD/${below}`
}

function shop(mesh: LocalMesh): string[] {
  const address = mesh.clusterIP('weft-system', 'weft') ?? '<mesh ClusterIP>'
  const [page] = mesh.pods('shop', { app: 'productpage' })
  const source = page ? addressOf(page) : '<pod address>'
  const node = page?.spec.nodeName ?? 'its node'
  return [
    '',
    '# the shop, in a browser; the strip at its end shows which version of reviews answers',
    `http://${mesh.clusterIP('shop', 'productpage')}:9080/`,
    '',
    `# a request through the mesh, as the pod of productpage sends it; the agent of ${node} answers it`,
    `curl -i --interface ${source} -H 'Host: reviews-mesh.shop' http://${address}:9080/reviews/0`,
    '',
    '# the same, with the agent as HTTP proxy',
    `http_proxy=http://${address}:15001 curl -i --interface ${source} http://reviews.shop:9080/reviews/0`,
    '',
    '# one request in ten to v2; all to v2; and with no split, v1, v2 and v3 in turns',
    'kubectl apply -f manifests/examples/reviews-canary.yaml',
    'kubectl apply -f manifests/examples/reviews-split.yaml',
    'kubectl -n shop delete trafficsplit reviews',
    '',
    '# more pods, and one less: nobody notices',
    'kubectl -n shop scale deployment reviews-v2 --replicas 3',
    'kubectl -n shop delete pod -l app=reviews,version=v1',
  ]
}

function addressOf(pod: Pod): string {
  return pod.status?.podIP ?? '<pod address>'
}
