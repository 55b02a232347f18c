// A real cluster with the mesh just installed: agents everywhere, small and without rights, and nothing to complain of.

import { expect } from 'chai'
import { type Body, kubectl, list, pods, run } from './kubectl.ts'
import { agentLabel, agentOn, figure, metric, untilWell, withMesh } from './mesh.ts'

describe('the mesh on a cluster', function () {
  this.timeout(60_000)
  const mesh = withMesh()

  it('installs without a warning, and is ready within 60 s', () => {
    expect(mesh().applied.errors).to.equal('')
    figure('from applying the manifests to everything ready', `${Math.round(mesh().readyMs / 100) / 10} s`)
    expect(mesh().readyMs).to.be.below(60_000)
  })

  it('stays as it is when it is applied again', async () => {
    const stand = async () => {
      const { items } = JSON.parse(await kubectl(['get', '-k', mesh().manifests, '-o', 'json'])) as { items: Body[] }
      // Where there is a generation, the version counts what becomes of the object, too.
      return items.map(({ kind, metadata }) => [kind, metadata.name, metadata.generation ?? metadata.resourceVersion])
    }
    const before = await stand()
    expect(before.length).to.be.above(15)
    await kubectl(['apply', '-k', mesh().manifests])
    expect(await stand()).to.deep.equal(before)
  })

  it('has a ready agent on every node, at rest in at most 125 MiB', async () => {
    const nodes = (await list('', 'nodes')).map(({ metadata }) => metadata.name)
    const agents = await pods('weft-system', agentLabel)
    expect(agents.map(({ spec }) => spec.nodeName)).to.have.members(nodes)
    for (const { metadata, spec, status } of agents) {
      expect(status.containerStatuses[0], metadata.name).to.include({ ready: true, restartCount: 0 })
      const resident = (await metric(spec.nodeName, 'process_resident_memory_bytes')) / 1024 / 1024
      expect(resident, `MiB of ${metadata.name}`).to.be.below(125)
    }
  })

  it('runs agents that can do nothing to their node', async () => {
    const agent = await agentOn(mesh().here)
    const script = `
      import { readFileSync, writeFileSync } from 'node:fs'
      const status = readFileSync('/proc/1/status', 'utf8')
      const field = (name) => status.match(new RegExp(name + ':\\\\s+(\\\\S+)'))[1]
      let written = ''
      try { writeFileSync('/app/agent/main.ts', '') } catch (error) { written = error.code }
      const services = Object.keys(process.env).filter((name) => /^WEFT_.*(HOST|PORT)/.test(name))
      console.log(JSON.stringify([process.getuid(), field('CapEff'), field('CapBnd'), field('NoNewPrivs'), written, services]))`
    const args = ['exec', '-n', 'weft-system', agent.metadata.name, '--', 'node', '--input-type=module', '-e', script]
    const { out, errors } = await run('kubectl', args)
    const none = '0000000000000000'
    expect(JSON.parse(out || errors)).to.deep.equal([65_532, none, none, '1', 'EROFS', []])
  })

  it('finds itself well', async () => {
    await untilWell()
  })
})
