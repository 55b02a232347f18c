// Versions that are one apart: agents of the previous release with this controller, and the reverse, with changes that must
// get through and requests that must not fail.

import { expect } from 'chai'
import { until } from '../support/until.ts'
import { startCrowd, tellLosses, textOf } from './failures.ts'
import { callers, echo, openFleet } from './fleet.ts'
import { apply, kubectl, list, rolledOut } from './kubectl.ts'
import { image, withMesh } from './mesh.ts'
import { callFrom } from './pod.ts'

const previous = process.env['WEFT_IMAGE_PREVIOUS'] ?? ''
const suite = previous === '' ? describe.skip : describe

const setImage = async (workload: string, container: string, name: string) => {
  await kubectl(['set', 'image', workload, `${container}=${name}`, '-n', 'weft-system'])
  await rolledOut('weft-system', workload)
}
const agents = (name: string) => setImage('daemonset/weft-agent', 'agent', name)
const controllers = (name: string) => setImage('deployment/weft-controller', 'controller', name)

suite('versions that are one apart (WEFT_IMAGE_PREVIOUS names the older image)', function () {
  this.timeout(300_000)
  withMesh()

  before(async function () {
    this.timeout(240_000)
    await openFleet()
  })

  after(async function () {
    this.timeout(240_000)
    await controllers(image)
    await agents(image)
    await kubectl(['delete', 'trafficsplit', 'echo', '-n', 'fleet', '--ignore-not-found'])
  })

  /** A split that sends all to a Service of one workload: the agents must hear of it. */
  const divert = async (to: string) => {
    const spec = { selector: { app: to }, ports: [{ name: 'http', port: 8080 }] }
    const metadata = { name: to, namespace: 'fleet' }
    const backends = [{ service: to, weight: 1 }]
    await apply(
      { apiVersion: 'v1', kind: 'Service', metadata, spec },
      {
        apiVersion: 'split.smi-spec.io/v1alpha4',
        kind: 'TrafficSplit',
        metadata: { name: 'echo', namespace: 'fleet' },
        spec: { service: 'echo', backends },
      },
    )
    for (const place of await callers()) {
      const isDiverted = async () => {
        const { pods, failed } = await callFrom(place, echo, 20)
        return failed === 0 && Object.keys(pods).every((pod) => pod.startsWith(`${to}-`))
      }
      await until(isDiverted, `all requests of ${place.node} at ${to}`, 40_000)
    }
  }

  const steps: [string, string, () => Promise<void>][] = [
    ['old agents with this controller', 'roamer', () => agents(previous)],
    ['all of the old version', 'echo', () => controllers(previous)],
    ['this agent with old controllers', 'roamer', () => agents(image)],
    ['all of this version', 'echo', () => controllers(image)],
  ]
  for (const [title, to, change] of steps) {
    it(`${title}: no request fails, and changes get through`, async () => {
      const crowd = await startCrowd()
      const since = Date.now()
      await change()
      await divert(to)
      const losses = await crowd.stop(since)
      tellLosses(title, losses)
      expect(
        losses.reduce((sum, { failed }) => sum + failed, 0),
        textOf(losses, since),
      ).to.equal(0)
      const images = (await list('weft-system', 'pods'))
        .filter(({ metadata }) => metadata.deletionTimestamp === undefined)
        .map(({ spec }) => spec.containers[0].image)
      expect(new Set(images).size, images.join()).to.equal(title.startsWith('all') ? 1 : 2)
    })
  }
})
