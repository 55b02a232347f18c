// Connections to pods through the local API. (A real one needs kubelets: the cluster suites see those.)

import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { KubeConfig } from '@kubernetes/client-node'
import { expect } from 'chai'
import { forward, readPage } from '../../controller/cli/forward.ts'
import { openCluster } from '../../controller/observe/access.ts'
import { eachCluster } from '../support/kubecluster.ts'

eachCluster(
  'port-forward',
  (cluster) => {
    let page: Server
    let port = 0
    let namespace = ''

    before(async () => {
      page = createServer((request, response) => response.end(`${request.url} of a pod\n`))
      await new Promise<void>((done) => page.listen(0, '127.0.0.1', done))
      port = (page.address() as AddressInfo).port
      namespace = await cluster.test.namespace()
      await cluster.objects.pod(namespace, 'web', 'node1', '127.0.0.1')
      await cluster.test.request('POST', `/api/v1/namespaces/${namespace}/pods`, {
        metadata: { name: 'idle' },
        spec: { containers: [{ name: 'c', image: 'i' }] },
      })
    })
    after(() => new Promise((done) => page.close(done)))

    const open = () => {
      const config = new KubeConfig()
      config.loadFromFile(cluster.kubeconfig)
      return openCluster(config)
    }
    const failure = (run: Promise<unknown>) =>
      run.then(
        () => 'nothing',
        (error: Error) => error.message,
      )

    it('carries bytes to a pod and back', async () => {
      const access = open()
      expect(await readPage(access, { namespace, pod: 'web', port }, '/x')).to.equal('/x of a pod\n')
      await access.close()
    })

    it('says what can not be reached', async () => {
      const access = open()
      expect(await failure(readPage(access, { namespace, pod: 'idle', port }, '/'))).to.include('idle is not running')
      expect(await failure(readPage(access, { namespace, pod: 'web', port: 1 }, '/'))).to.include('ECONNREFUSED')
      await access.close()
      const stranger = open()
      const credentials = { ...stranger, access: async () => ({ ...(await stranger.access()), headers: {} }) }
      expect(await failure(forward(credentials, { namespace, pod: 'web', port }))).to.include('refuses a connection')
      await stranger.close()
    })

    it('wants a WebSocket', async () => {
      const path = `/api/v1/namespaces/${namespace}/pods/web/portforward?ports=${port}`
      expect((await cluster.test.request('GET', path)).status).to.equal(400)
      const { body } = await cluster.test.request('GET', '/api/v1')
      const found = body.resources.find(({ name }: { name: string }) => name === 'pods/portforward')
      expect(found).to.deep.include({ kind: 'PodPortForwardOptions', verbs: ['create', 'get'] })
    })
  },
  { crds: false, only: 'local' },
)
