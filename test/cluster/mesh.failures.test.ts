// What callers lose when something dies: the table of failure modes in README.md, measured from pods of every node.

import { expect } from 'chai'
import { until } from '../support/until.ts'
import { bed, itOnBed } from './bed.ts'
import { type Loss, startCrowd, tellLosses, textOf } from './failures.ts'
import { callers, echo, openFleet } from './fleet.ts'
import { kubectl, list, pods, rolledOut, run } from './kubectl.ts'
import { agentLabel, agentOn, controllerLabel, figure, withMesh } from './mesh.ts'
import { callFrom, failuresOf } from './pod.ts'

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

describe('failures on a cluster, under load from every node', function () {
  this.timeout(240_000)
  const mesh = withMesh()
  /** A node that neither CoreDNS nor all of the controllers depend on. */
  let victim = ''

  before(async function () {
    this.timeout(240_000)
    await openFleet()
    const dns = await list('kube-system', 'pods', '-l', 'k8s-app=kube-dns')
    const taken = dns.map(({ spec }) => spec.nodeName)
    victim = mesh()
      .nodes.toReversed()
      .find((node) => !taken.includes(node))!
  })

  /** Everybody gets answers, and from pods of every node. */
  const isWell = async () => {
    const nodeOf = new Map<string, string>(
      (await pods('fleet', 'fleet=echo')).map(({ metadata, spec }) => [metadata.name, spec.nodeName]),
    )
    for (const place of await callers()) {
      const result = await callFrom(place, echo, 200)
      const heard = new Set(Object.keys(result.pods).map((name) => nodeOf.get(name)))
      trouble = `${place.node}: ${failuresOf(result)}, heard ${[...heard]}`
      if (result.failed > 0 || mesh().nodes.some((node) => !heard.has(node))) return false
    }
    return true
  }
  let trouble = ''

  const noneOf = (losses: Loss[], since: number) => {
    expect(
      losses.reduce((sum, { failed }) => sum + failed, 0),
      textOf(losses, since),
    ).to.equal(0)
    for (const { node, requests } of losses) expect(requests, `requests from ${node}`).to.be.above(100)
  }

  /** A container's id as its node knows it. */
  const containerOf = (pod: { status: { containerStatuses: { containerID: string }[] } }) =>
    (pod.status.containerStatuses[0]?.containerID ?? '').replace(/^.*:\/\//, '')

  it('a drained node: nothing', async () => {
    const crowd = await startCrowd()
    const since = Date.now()
    const args = ['drain', victim, '--ignore-daemonsets', '--delete-emptydir-data', '--force', '--timeout=120s']
    const drained = await run('kubectl', args)
    expect(drained.code, drained.errors).to.equal(0)
    await rolledOut('fleet', 'deployment/roamer')
    await sleep(2000)
    const losses = await crowd.stop(since)
    await kubectl(['uncordon', victim])
    tellLosses(`drain of ${victim}`, losses)
    noneOf(losses, since)
    await rolledOut('weft-system', 'deployment/weft-controller')
  })

  itOnBed("the controller's leader, killed: nothing", async () => {
    const lease = await list('weft-system', 'leases')
    const leader = lease
      .map(({ spec }) => String(spec.holderIdentity))
      .find((holder) => holder.startsWith('weft-controller'))
    const found = (await pods('weft-system', controllerLabel)).find(({ metadata }) => leader?.startsWith(metadata.name))
    expect(found, `the pod of the leader ${leader}`).not.to.equal(undefined)
    const crowd = await startCrowd()
    const since = Date.now()
    await bed('kill', found.spec.nodeName, containerOf(found))
    await sleep(8000)
    await rolledOut('weft-system', 'deployment/weft-controller')
    const losses = await crowd.stop(since)
    tellLosses('leader killed', losses)
    noneOf(losses, since)
  })

  itOnBed('an agent, killed: what it carried, and new connections of its node for at most 3 s', async () => {
    const agent = await agentOn(victim)
    const crowd = await startCrowd({ pauseMs: 10 })
    const since = Date.now()
    await bed('kill', victim, containerOf(agent))
    await sleep(8000)
    const losses = await crowd.stop(since)
    tellLosses(`agent of ${victim} killed`, losses)
    for (const { node, untilMs, result } of losses) {
      if (node === victim) expect(untilMs, `from ${node}\n${textOf(losses, since)}`).to.be.below(3000)
      else {
        // What was in flight on it when it died, at most one for each connection, and nothing that came later.
        expect(result.failed, `from ${node}\n${textOf(losses, since)}`).to.be.below(5)
        expect(untilMs, textOf(losses, since)).to.be.below(1000)
      }
    }
    await until(isWell, () => `all well: ${trouble}`, 10_000)
  })

  itOnBed("a node's network, cut for 20 s: in flight there; noticed within 2 s; well within 5 s", async () => {
    await until(isWell, () => `all well: ${trouble}`, 20_000)
    const crowd = await startCrowd()
    const since = Date.now()
    await bed('cut', victim)
    await sleep(20_000)
    await bed('join', victim)
    const joined = Date.now()
    const others = (await callers()).filter(({ node }) => node !== victim)
    const theirs = (await pods('fleet', 'fleet=echo')).filter(({ spec }) => spec.nodeName === victim)
    const isBack = async () => {
      const result = await callFrom(others[0]!, echo, 60)
      return result.failed === 0 && theirs.every(({ metadata }) => result.pods[metadata.name] !== undefined)
    }
    await until(isBack, `answers of the pods of ${victim}`, 10_000)
    const backMs = Date.now() - joined
    await sleep(Math.max(0, 6000 - backMs))
    const losses = await crowd.stop(since)
    tellLosses(`network of ${victim} cut for 20 s`, losses)
    figure(`until pods of ${victim} answer others again`, `${backMs} ms`)
    expect(backMs).to.be.below(5000)
    for (const { node, untilMs, maxMs } of losses) {
      expect(untilMs, `from ${node}\n${textOf(losses, since)}`).to.be.below(3000)
      expect(maxMs, `the longest from ${node}`).to.be.below(4000)
    }
    // Failures of whoever asks after the cut was over are none.
    for (const { result } of losses)
      expect(result.failures.filter(({ start }) => start > joined + 5000)).to.deep.equal([])
  })

  itOnBed('the API server, stopped for 60 s: nothing', async () => {
    const crowd = await startCrowd()
    const since = Date.now()
    await bed('stop-api')
    await sleep(60_000)
    await bed('start-api')
    const isUp = async () => (await run('kubectl', ['get', '--raw', '/readyz'])).code === 0
    await until(isUp, 'the API server', 60_000)
    await sleep(3000)
    const losses = await crowd.stop(since)
    tellLosses('API server stopped for 60 s', losses)
    noneOf(losses, since)
    const isControlled = async () => {
      const { code } = await run('kubectl', [
        'rollout',
        'status',
        'deployment/weft-controller',
        '-n',
        'weft-system',
        '--timeout=5s',
      ])
      return code === 0
    }
    await until(isControlled, 'the controllers', 60_000)
    expect(await pods('weft-system', agentLabel)).to.have.length(mesh().nodes.length)
  })
})
