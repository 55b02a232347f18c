// The command line tool as people run it: a process, its output and its exit code.

import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import type { Body } from '../support/api.ts'
import { eachCluster } from '../support/kubecluster.ts'

const main = fileURLToPath(new URL('../../controller/cli/main.ts', import.meta.url))

interface Result {
  code: number
  out: string
  err: string
}

function weft(args: string[], input = '', env: Record<string, string> = {}): Promise<Result> {
  return new Promise((done) => {
    const child = execFile(
      process.execPath,
      [main, ...args],
      { env: { ...process.env, ...env } },
      (error, out, err) => {
        done({ code: error === null ? 0 : Number(error.code ?? 1), out, err })
      },
    )
    child.stdin?.end(input)
  })
}

const split = (weight: string) => `
apiVersion: split.smi-spec.io/v1alpha4
kind: TrafficSplit
metadata: {name: s}
spec: {service: web, backends: [{service: v2, weight: ${weight}}]}
`

describe('weft check -f', () => {
  const folder = mkdtempSync(join(tmpdir(), 'weft-cli-'))
  after(() => rmSync(folder, { recursive: true }))

  it('is content with good manifests', async () => {
    const file = join(folder, 'good.yaml')
    writeFileSync(file, split('1'))
    const { code, out } = await weft(['check', '-f', file])
    expect(out).to.equal('√ 1 object, no problems\n')
    expect(code).to.equal(0)
  })

  it('ends with 79 on problems, and names file, object and field', async () => {
    const { code, out } = await weft(['check', '-n', 'shop', '-f', '-'], split('heavy'))
    expect(code).to.equal(79)
    expect(out).to.include('× -: TrafficSplit shop/s WeightInvalid: spec.backends[0].weight: "heavy"')
  })

  it('ends with 79 on warnings if asked to', async () => {
    const twice = split('1').replace(']}', ', {service: v2, weight: 1}]}')
    expect((await weft(['check', '-f', '-'], twice)).code).to.equal(0)
    expect((await weft(['check', '--fail-on', 'warn', '-f', '-'], twice)).code).to.equal(79)
  })

  it('ends with 65 on what is no manifest', async () => {
    const { code, out } = await weft(['check', '-o', 'json', '-f', '-'], 'a: [')
    expect(code).to.equal(65)
    expect(JSON.parse(out).faults[0]).to.include({ source: '-', line: 1 })
    expect((await weft(['check', '-f', join(folder, 'none.yaml')])).code).to.equal(65)
  })

  for (const line of ['chekc', 'check --wait long', 'check -o xml', 'completion tcsh', 'completion', 'check --bogus']) {
    it(`ends with 64 on ${line}`, async () => {
      const { code, err } = await weft(line.split(' '))
      expect(code).to.equal(64)
      expect(err).to.include('error:')
    })
  }

  it('ends with 69 where there is no cluster', async () => {
    expect((await weft(['check', '--kubeconfig', join(folder, 'none')])).code).to.equal(69)
    const config = join(folder, 'config')
    writeFileSync(
      config,
      JSON.stringify({
        clusters: [{ name: 'c', cluster: { server: 'http://127.0.0.1:1' } }],
        contexts: [{ name: 'x', context: { cluster: 'c', user: 'u' } }],
        users: [{ name: 'u', user: {} }],
        'current-context': 'x',
      }),
    )
    const { code, out } = await weft(['check', '--kubeconfig', config])
    expect(code).to.equal(69)
    expect(out).to.include('×')
  })

  it('prints its version and completions', async () => {
    expect((await weft(['version', '--client', '--short'])).out).to.match(/^\d+\.\d+\.\d+\n$/)
    for (const shell of ['bash', 'zsh', 'fish']) expect((await weft(['completion', shell])).out).to.include('check')
  })
})

eachCluster('weft check', (cluster) => {
  const check = (...args: string[]) => weft(['check', '--kubeconfig', cluster.kubeconfig, ...args])
  const create = (path: string, object: Body) => cluster.test.request('POST', path, object)
  let namespace = ''
  beforeEach(async () => {
    namespace = await cluster.test.namespace()
  })

  it('says what is not installed', async () => {
    const { code, out } = await check()
    expect(code).to.equal(1)
    expect(out).to.include('√ the API server answers')
    expect(out).to.include('√ trafficsplits.split.smi-spec.io is served')
    expect(out).to.include('× the controller is installed: not found\n    kubectl apply -k manifests/base')
  })

  it('finds the problems of a namespace, and counts them after what is missing', async () => {
    const root = `/apis/split.smi-spec.io/v1alpha2/namespaces/${namespace}/trafficsplits`
    const spec = { service: 'gone', backends: [{ service: 'b', weight: 1 }] }
    await create(root, {
      apiVersion: 'split.smi-spec.io/v1alpha2',
      kind: 'TrafficSplit',
      metadata: { name: 's' },
      spec,
    })
    const { out } = await check('-o', 'short', '-n', namespace)
    expect(out).to.include(
      `‼ TrafficSplit ${namespace}/s RootNotFound: spec.service: there is no Service ${namespace}/gone`,
    )
    expect((await check('-o', 'short', '-n', 'default')).out).to.not.include('RootNotFound')
  })

  it('judges manifests together with what the cluster has', async () => {
    const { code, out } = await weft(
      ['--kubeconfig', cluster.kubeconfig, 'check', '--cluster', '--fail-on', 'warn', '-n', namespace, '-f', '-'],
      split('1'),
    )
    expect(out).to.include('RootNotFound').and.include('BackendNotFound')
    expect(code).to.equal(79)
  })

  it('waits, but no longer than told', async () => {
    const startedAt = Date.now()
    expect((await check('--wait', '1500ms')).code).to.equal(1)
    expect(Date.now() - startedAt).to.be.at.least(1000)
  })

  it('says which versions run', async () => {
    const { out, code } = await weft(['version', '--kubeconfig', cluster.kubeconfig])
    expect(out).to.match(/^Client: .*\nController: not installed\nAgents: not installed\n$/)
    expect(code).to.equal(0)
  })
})
