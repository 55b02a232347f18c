// Leaving the mesh on a real cluster: callers that still come are told, and no trace of it stays.

import { expect } from 'chai'
import { until } from '../support/until.ts'
import { closeFleet } from './fleet.ts'
import { apply, type Body, kubectl, list, run, weft } from './kubectl.ts'
import { figure, manifestsOf, openNames, openShop, originalDns, reviews, withMesh } from './mesh.ts'
import { evaluate, startLoad } from './pod.ts'

const ours = ['-A', '-l', 'app.kubernetes.io/managed-by=weft', '-o', 'name']
const corefile = ['get', 'configmap', 'coredns', '-n', 'kube-system', '-o', 'json']

describe('leaving the mesh', function () {
  this.timeout(120_000)
  const mesh = withMesh()
  let address = ''

  before(async function () {
    this.timeout(240_000)
    await Promise.all([openShop(mesh()), closeFleet()])
    await openNames()
    address = await kubectl(['get', 'service', 'weft', '-n', 'weft-system', '-o', 'jsonpath={.spec.clusterIP}'])
    const port = { name: 'tcp-raw', port: 7000, targetPort: 9080 }
    const metadata = { name: 'raw', namespace: 'shop' }
    await apply({ apiVersion: 'v1', kind: 'Service', metadata, spec: { selector: { app: 'reviews' }, ports: [port] } })
    const isThere = async () => (await list('shop', 'services')).some(({ metadata }) => metadata.name === 'raw-mesh')
    await until(isThere, 'the alias raw-mesh', 20_000)
  })

  it('by label takes aliases, addresses and names away within 5 s, and tells callers that still come', async () => {
    const load = await startLoad('productpage', { url: reviews, callers: 1, keptOnly: true })
    const lookup = `
      import { lookup } from 'node:dns/promises'
      console.log(await lookup('reviews.shop.mesh.internal').then(({ address }) => address, ({ code }) => code))`
    expect(await evaluate('details', lookup)).to.equal(address)
    await kubectl(['label', 'namespace', 'shop', 'weft.dev/mesh-'])
    const start = performance.now()
    const left = async () => {
      const aliases = (await list('shop', 'services')).map(({ metadata }) => metadata.name)
      const shadows = await list('weft-system', 'services', '-l', 'weft.dev/namespace=shop')
      return [...aliases.filter((name) => name.endsWith('-mesh')), ...shadows.map(({ metadata }) => metadata.name)]
    }
    let still: string[] = []
    const isGone = async () => {
      still = await left()
      return still.length === 0
    }
    await until(isGone, () => `the end of aliases and addresses: ${still}`, 5000)
    figure('until aliases and addresses were gone', `${Math.round(performance.now() - start)} ms`)
    // CoreDNS may have kept the answer for its 5 s.
    await until(async () => (await evaluate('details', lookup)) === 'ENOTFOUND', 'the end of the name', 7000)
    figure('until the names were gone, caches included', `${Math.round(performance.now() - start)} ms`)
    const script = `
      const url = 'http://${address}:9080/reviews/0'
      import http from 'node:http'
      http.get(url, { headers: { host: 'reviews-mesh.shop' }, timeout: 5000 }, (response) => {
        console.log(response.statusCode, response.headers['x-weft-error'])
        response.resume()
      }).on('error', (error) => console.log(error.code))`
    const isTold = async () => (await evaluate('details', script)) === '404 not_enrolled'
    await until(isTold, 'new connections to the address hear 404', 15_000)
    const { failures } = await load.stop()
    const heard = new Set(failures.map(({ what }) => what))
    expect(heard, 'on kept connections').to.deep.equal(new Set(['404 not_enrolled']))
  })

  it('by `weft uninstall` leaves what users wrote, and nothing of ours', async () => {
    const split = {
      apiVersion: 'split.smi-spec.io/v1alpha4',
      kind: 'TrafficSplit',
      metadata: { name: 'theirs', namespace: 'shop' },
      spec: { service: 'reviews', backends: [{ service: 'reviews', weight: 1 }] },
    }
    await apply(split)
    const theirs = async () => {
      const kinds = 'services,deployments,serviceaccounts,trafficsplits.split.smi-spec.io'
      const all: Body[] = await list('shop', kinds)
      return all.map(({ kind, metadata, spec }) => JSON.stringify([kind, metadata.name, metadata.uid, spec])).sort()
    }
    const before = await theirs()
    const removed = await weft('uninstall', '--apply', '--yes')
    expect(removed.code, `${removed.errors}${removed.out}`).to.equal(0)
    const kinds =
      'services,configmaps,secrets,leases.coordination.k8s.io,endpointslices.discovery.k8s.io,networkpolicies'
    await until(async () => (await kubectl(['get', kinds, ...ours])) === '', 'the end of all that we wrote', 20_000)
    const wide =
      'namespaces,clusterroles,clusterrolebindings,validatingadmissionpolicies,validatingadmissionpolicybindings,validatingwebhookconfigurations,priorityclasses'
    const left = (await kubectl(['get', wide, '-o', 'name'])).split('\n')
    expect(left.filter((name) => /weft/.test(name))).to.deep.equal([])
    expect(await theirs(), 'the objects of users').to.deep.equal(before)
    const { data } = JSON.parse(await kubectl(corefile))
    expect(data, "CoreDNS's ConfigMap").to.deep.equal(originalDns())
    const script = `const { status } = await fetch('http://reviews:9080/reviews/0'); console.log(status)`
    expect(await evaluate('productpage', script)).to.equal('200')
  })

  it('by kubectl takes the SMI kinds, too', async () => {
    const { code, errors } = await run('kubectl', [
      'delete',
      '-k',
      manifestsOf(''),
      '--ignore-not-found',
      '--timeout=60s',
    ])
    expect(code, errors).to.equal(0)
    const kinds = (await kubectl(['get', 'customresourcedefinitions', '-o', 'name'])).split('\n')
    expect(kinds.filter((name) => name.includes('smi-spec'))).to.deep.equal([])
    await kubectl(['delete', 'namespace', 'shop', '--timeout=100s'])
  })
})
