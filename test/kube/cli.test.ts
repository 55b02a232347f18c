// The command line tool as people run it: what it prints and its exit code.

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import type { Body } from '../support/api.ts'
import { type CliResult, runCli, spawnCli } from '../support/cli.ts'
import { eachCluster } from '../support/kubecluster.ts'

/** As a process where it needs an input or variables of its own. */
function weft(args: string[], input = '', env: Record<string, string> = {}): Promise<CliResult> {
  return input === '' && Object.keys(env).length === 0 ? runCli(...args) : spawnCli(args, input, env)
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
    expect(out).to.include('× -:5: TrafficSplit shop/s WeightInvalid: spec.backends[0].weight: "heavy"')
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
    expect((await weft(['completion', 'fish'])).out).to.include('complete -c weft')
    expect((await weft(['__complete', 'dns', 'rem'])).out).to.match(/^remove\t.*\n:4\n$/)
  })
})

describe('weft validate', () => {
  const folder = mkdtempSync(join(tmpdir(), 'weft-cli-'))
  after(() => rmSync(folder, { recursive: true }))

  it('names file, line, object and field of each finding, and knows no cluster', async () => {
    const bad = join(folder, 'bad.yaml')
    const route =
      'apiVersion: specs.smi-spec.io/v1alpha4\nkind: HTTPRouteGroup\nmetadata:\n  name: g\nspec:\n  matches:\n'
    writeFileSync(bad, `${split('1')}---\n${route}  - name: m\n    pathRegex: (\n`)
    const { code, out, err } = await weft(['validate', '-f', bad, '-'], split('-1'), {
      KUBECONFIG: join(folder, 'none'),
    })
    const [first, second] = out.split('\n')
    expect(first).to.include(
      `× ${bad}:4: TrafficSplit default/s SpecInvalid: metadata.name: TrafficSplit default/s is given twice`,
    )
    expect(second).to.include(`× ${bad}:14: HTTPRouteGroup default/g RegexInvalid: spec.matches[0].pathRegex: "("`)
    expect(err).to.equal('')
    expect(code).to.equal(79)
  })

  it('takes folders, and folders in them if asked to', async () => {
    const shop = join(folder, 'shop')
    mkdirSync(join(shop, 'deeper'), { recursive: true })
    writeFileSync(join(shop, 'a.yaml'), split('1'))
    writeFileSync(join(shop, 'README.md'), 'a: [')
    writeFileSync(
      join(shop, 'kustomization.yaml'),
      'apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n',
    )
    writeFileSync(
      join(shop, 'deeper', 'b.json'),
      JSON.stringify({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'n' } }),
    )
    expect((await weft(['validate', '-f', shop])).out).to.equal('√ 1 object, no problems\n')
    expect((await weft(['validate', '-R', '-f', shop])).out).to.equal('√ 2 objects, no problems\n')
    mkdirSync(join(folder, 'empty'))
    const { code, err } = await weft(['validate', '-f', join(folder, 'empty')])
    expect(err).to.include('has no files that end in')
    expect(code).to.equal(65)
  })

  it('prints JSON for machines', async () => {
    const { code, out } = await weft(['validate', '-n', 'shop', '-o', 'json', '-f', '-'], split('heavy'))
    expect(code).to.equal(79)
    const { objects, faults, problems } = JSON.parse(out)
    expect({ objects, faults }).to.deep.equal({ objects: 1, faults: [] })
    expect(problems).to.have.length(1)
    expect(problems[0]).to.include({ source: '-', line: 5, severity: 'error', reason: 'WeightInvalid' })
    expect(problems[0].object).to.include({ kind: 'TrafficSplit', namespace: 'shop', name: 's' })
  })

  it('fails on warnings only if asked to, and reads names in the domain it is told', async () => {
    const text = split('1').replace('web', 'web.default.svc.corp.example')
    expect((await weft(['validate', '-f', '-'], text)).code).to.equal(79)
    const told = ['validate', '--cluster-domain', 'corp.example', '-f', '-']
    expect((await weft(told, text)).code).to.equal(0)
    const twice = split('1').replace(']}', ', {service: v2, weight: 1}]}')
    expect((await weft(['validate', '-f', '-'], twice)).code).to.equal(0)
    expect((await weft(['validate', '--fail-on', 'warn', '-f', '-'], twice)).code).to.equal(79)
  })

  it('ends with 65 on what is no manifest, with 64 on wrong usage, and explains itself', async () => {
    const { code, out } = await weft(['validate', '-f', '-'], 'apiVersion: v1\n---\nkind: [')
    expect(out).to.match(/^× -:3: .*\n× -:1: kind: must be set.*\n$|^× -:1: kind: must be set.*\n× -:3: .*\n$/)
    expect(code).to.equal(65)
    expect((await weft(['validate', '-f', join(folder, 'none.yaml')])).code).to.equal(65)
    for (const line of [
      'validate',
      'validate -f - -o table',
      'validate -f - --cluster-domain a..b',
      'validate x.yaml',
    ]) {
      expect((await weft(line.split(' '))).code, line).to.equal(64)
    }
    const help = await weft(['validate', '--help'])
    expect(help.code).to.equal(0)
    expect(help.out).to.include('Exit codes:').and.include('--fail-on').and.include('without a cluster')
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
    expect(out).to.include('× the controller is installed: not found\n    weft install --apply')
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

eachCluster(
  'weft check of rights',
  (cluster) => {
    it('names those that an account lacks, and goes no further', async () => {
      const as = ['--kubeconfig', cluster.kubeconfig, '--as', 'somebody', '--as-group', 'a', '--as-group', 'b', 'check']
      const { code, out } = await weft([...as, '-o', 'short'])
      expect(code).to.equal(1)
      expect(out).to.include('× you have the rights that these checks need: list namespaces, list nodes')
      expect(out).to.include(' and 6 more\n')
      const { out: pre } = await weft([...as, '--pre', '-o', 'short'])
      expect(pre).to.include('× you have the rights to install the mesh: create namespaces')
      expect((await weft(['--kubeconfig', cluster.kubeconfig, 'check', '--pre'])).code).to.equal(0)
    })
  },
  // The local API asks nobody for rights.
  { only: 'real' },
)
