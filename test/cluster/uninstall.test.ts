// Leaving the mesh on a real cluster: no trace of it stays.

import { join } from 'node:path'
import { expect } from 'chai'
import { root } from '../../scripts/local/environment.ts'
import { until } from '../support/until.ts'
import { kubectl } from './kubectl.ts'
import { openShop, reviews, withMesh } from './mesh.ts'
import { evaluate, startLoad } from './pod.ts'

const ours = ['-A', '-l', 'app.kubernetes.io/managed-by=weft', '-o', 'name']

describe('leaving the mesh', function () {
  this.timeout(120_000)
  const mesh = withMesh()
  let address = ''

  before(async function () {
    this.timeout(120_000)
    await openShop(mesh())
    address = await kubectl(['get', 'service', 'weft', '-n', 'weft-system', '-o', 'jsonpath={.spec.clusterIP}'])
  })

  it('by label takes the aliases away, and tells callers that still come', async () => {
    const load = await startLoad('productpage', { url: reviews, callers: 1, keptOnly: true })
    await kubectl(['label', 'namespace', 'shop', 'weft.dev/mesh-'])
    const aliases = async () => (await kubectl(['get', 'services', '-o', 'name', '-n', 'shop'])).match(/-mesh$/gm)
    await until(async () => (await aliases()) === null, 'the end of the aliases', 10_000)
    const script = `
      const url = 'http://${address}:9080/reviews/0'
      import http from 'node:http'
      http.get(url, { headers: { host: 'reviews-mesh.shop' }, timeout: 5000 }, (response) => {
        console.log(response.statusCode, response.headers['x-weft-error'])
        response.resume()
      }).on('error', (error) => console.log(error.code))`
    await until(
      async () => (await evaluate('details', script)) === '404 not_enrolled',
      'new connections hear 404',
      15_000,
    )
    const { failures } = await load.stop()
    expect(new Set(failures.map(({ what }) => what)), 'on kept connections').to.deep.equal(
      new Set(['404 not_enrolled']),
    )
  })

  it('and removing it leaves the shop, and nothing of ours', async () => {
    await kubectl(['delete', '-k', join(root, 'manifests/base'), '--timeout=100s'])
    const kinds = 'services,configmaps,secrets,leases.coordination.k8s.io,endpointslices.discovery.k8s.io'
    await until(async () => (await kubectl(['get', kinds, ...ours])) === '', 'the end of all that we wrote', 20_000)
    const wide = 'namespaces,customresourcedefinitions,clusterroles,clusterrolebindings'
    const left = (await kubectl(['get', wide, '-o', 'name'])).split('\n')
    expect(left.filter((name) => /weft|smi-spec/.test(name))).to.deep.equal([])
    const script = `const { status } = await fetch('http://reviews:9080/reviews/0'); console.log(status)`
    expect(await evaluate('productpage', script)).to.equal('200')
    await kubectl(['delete', 'namespace', 'shop', '--timeout=100s'])
  })
})
