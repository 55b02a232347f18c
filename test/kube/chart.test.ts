// Helm with a real API server: it installs the chart, finds nothing to change the second time, adds and takes away what a value
// says, and removes all that it made. Needs Helm (scripts/manifests/helm) and an API server of its own, where nobody else has
// installed the mesh.

import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'chai'
import { root } from '../../scripts/local/environment.ts'
import { startKubeApiserver } from '../support/kubeapiserver.ts'

const assets = process.env['KUBEBUILDER_ASSETS']

/** Kinds of which the chart has objects, and those in which something could be left behind. */
const kinds = [
  ...['deployments', 'daemonsets', 'services', 'serviceaccounts', 'networkpolicies', 'poddisruptionbudgets', 'roles'],
  ...['rolebindings', 'clusterroles', 'clusterrolebindings', 'validatingadmissionpolicies'],
  ...['validatingadmissionpolicybindings', 'validatingwebhookconfigurations', 'customresourcedefinitions'],
].join(',')

if (assets !== undefined) {
  describe('the chart, by Helm', function () {
    this.timeout(120_000)
    let helm = ''
    let kubeconfig = ''

    before(async function () {
      this.timeout(900_000)
      helm = execFileSync(join(root, 'scripts/manifests/helm'), { encoding: 'utf8' }).trim()
      const started = await startKubeApiserver(assets)
      kubeconfig = join(started.folder, 'kubeconfig')
      writeFileSync(kubeconfig, started.kubeconfig, { mode: 0o600 })
    })

    const run = (command: string, args: string[]) =>
      execFileSync(command, [...args, '--kubeconfig', kubeconfig], {
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'pipe'],
      })
    const release = (word: string, ...more: string[]) =>
      run(helm, [
        word,
        'weft',
        ...(word === 'uninstall' ? [] : [join(root, 'manifests/chart')]),
        '-n',
        'weft-system',
        ...more,
      ])

    /** Name → resourceVersion of everything that is of the mesh. */
    function objects(): Map<string, string> {
      const args = ['get', kinds, '-A', '-o', 'json', '-l', 'app.kubernetes.io/part-of=weft']
      const { items } = JSON.parse(run(join(assets!, 'kubectl'), args)) as {
        items: { kind: string; metadata: { name: string; resourceVersion: string } }[]
      }
      return new Map(items.map(({ kind, metadata }) => [`${kind} ${metadata.name}`, metadata.resourceVersion]))
    }

    it('installs all of it, and says what comes next', () => {
      const notes = release('install', '--create-namespace')
      expect(notes.trim().split('\n').at(-1)).to.equal('  npx weft check --wait 2m')
      const made = [...objects().keys()]
      expect(made).to.include.members([
        'Deployment weft-controller',
        'DaemonSet weft-agent',
        'NetworkPolicy weft-default',
      ])
      expect(made.filter((name) => name.startsWith('CustomResourceDefinition'))).to.have.length(5)
    })

    it('finds nothing to change the second time', () => {
      const before = objects()
      release('upgrade')
      expect(objects()).to.deep.equal(before)
    })

    it('adds and takes away what a value says', () => {
      release('upgrade', '--set', 'dns.enabled=false,admission.enabled=false,networkPolicies.strict=true')
      const now = [...objects().keys()]
      expect(now).to.not.include('Service weft-dns')
      expect(now.filter((name) => name.startsWith('ValidatingWebhook'))).to.deep.equal([])
      release('upgrade', '--reset-values')
      expect([...objects().keys()]).to.include.members(['Service weft-dns', 'ValidatingWebhookConfiguration weft-smi'])
    })

    it('refuses values that nobody knows', () => {
      expect(() => release('upgrade', '--set', 'agent.threads=2')).to.throw(/threads/)
    })

    it('removes all that it made, and keeps the SMI kinds with what they hold', () => {
      release('uninstall')
      const left = [...objects().keys()]
      expect(left.filter((name) => !name.startsWith('CustomResourceDefinition'))).to.deep.equal([])
      expect(left).to.have.length(5)
    })
  })
}
