// Our block in Corefiles of all shapes: in, out, and byte for byte what was there before.

import { expect } from 'chai'
import { diffOf } from '../../../controller/cli/diff.ts'
import { nodeLocalAdvice, ownerAdvice } from '../../../controller/cli/dns/advice.ts'
import {
  blockFor,
  importsCustom,
  isReloading,
  readBlock,
  refusal,
  withBlock,
  withoutBlock,
} from '../../../controller/cli/dns/corefile.ts'
import { type ConfigMap, type DnsPlace, ownerOf } from '../../../controller/cli/dns/place.ts'

const block = blockFor('mesh.internal', '10.96.0.53')
const kubeadm = `.:53 {
    errors
    health {
       lameduck 5s
    }
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
       pods insecure
       fallthrough in-addr.arpa ip6.arpa
    }
    forward . /etc/resolv.conf {
       max_concurrent 1000
    }
    cache 30
    loop
    reload
    loadbalance
}
`

const corefiles: [string, string][] = [
  ['kubeadm’s', kubeadm],
  ['one without a newline at its end', kubeadm.trimEnd()],
  ['one with Windows’ newlines', kubeadm.replaceAll('\n', '\r\n')],
  [
    'one with several blocks, snippets, imports and comments',
    `# mine {\n(common) {\n  errors\n}\nimport custom/*.override\nexample.com:53,\nexample.org:53 {\n  import common\n}\n${kubeadm}# end }\n`,
  ],
  ['one with trailing spaces', `${kubeadm}  \n\n`],
  ['an empty one', ''],
]

describe('our block in a Corefile', () => {
  for (const [what, text] of corefiles) {
    it(`goes into ${what} and out again without a trace`, () => {
      const after = withBlock(text, block)
      expect(after.startsWith('# weft: begin')).to.equal(true)
      expect(readBlock(after)).to.equal(block)
      expect(withBlock(after, block), 'a second time').to.equal(after)
      expect(withoutBlock(after)).to.equal(text)
      const moved = withBlock(after, blockFor('mesh.internal', '10.96.9.9'))
      expect(moved).to.include('forward . 10.96.9.9').and.not.include('10.96.0.53')
      expect(withoutBlock(moved)).to.equal(text)
      if (text !== '') expect(refusal(after, 'mesh.internal')).to.equal(null)
    })
  }

  it('is found wherever somebody moved it, and whatever the first mark says', () => {
    const old = block.replace(/^(# weft: begin).*/, '$1 of another version')
    expect(withoutBlock(`${kubeadm}${old}# after\n`)).to.equal(`${kubeadm}# after\n`)
    expect(withoutBlock(kubeadm)).to.equal(kubeadm)
    expect(readBlock(`${kubeadm}# weft: begin\n`)).to.equal(null)
  })

  it('is refused where it could not work', () => {
    expect(refusal('.:53\nerrors\nforward . 1.1.1.1\n', 'mesh.internal')).to.include(
      'no braces around its one server block',
    )
    for (const key of ['mesh.internal:53', 'dns://mesh.internal.', 'a.example:53, Mesh.Internal:53', 'mesh.internal']) {
      expect(refusal(`${key} {\n  errors\n}\n${kubeadm}`, 'mesh.internal'), key).to.include('not ours')
    }
    expect(refusal(`xmesh.internal:53 {\n}\n${kubeadm}`, 'mesh.internal')).to.equal(null)
  })

  it('knows what CoreDNS does with a change', () => {
    expect(isReloading(kubeadm)).to.equal(true)
    expect(isReloading(kubeadm.replace('reload', '# reload'))).to.equal(false)
    expect(importsCustom(`${kubeadm}import /etc/coredns/custom/*.server\n`)).to.equal(true)
    expect(importsCustom(kubeadm.replace('loop', 'import custom/*.override'))).to.equal(false)
  })
})

describe('the difference of two texts', () => {
  it('is one hunk with three lines around', () => {
    const after = withBlock(kubeadm, block)
    const diff = diffOf('ConfigMap a/b c', kubeadm, after)
    expect(diff.split('\n').slice(0, 3)).to.deep.equal([
      '--- ConfigMap a/b c',
      '+++ ConfigMap a/b c',
      '@@ -1,3 +1,10 @@',
    ])
    expect(diff.match(/^\+(?!\+\+)/gm)).to.have.length(7)
    expect(diff).to.include('\n .:53 {\n     errors\n     health {\n')
    expect(diffOf('t', after, kubeadm).match(/^-(?!--)/gm)).to.have.length(7)
    expect(diffOf('t', kubeadm, kubeadm)).to.equal('')
    expect(diffOf('t', '', 'a\n')).to.equal('--- t\n+++ t\n@@ -0,0 +1,1 @@\n+a\n')
  })
})

const map = (metadata: object): ConfigMap => ({ metadata: { name: 'coredns', ...metadata } as ConfigMap['metadata'] })
const managed = (manager: string, fields: object) => ({ managedFields: [{ manager, fieldsV1: fields }] })

describe('who owns the cluster’s DNS', () => {
  const owners: [string, object, string][] = [
    ['kubeadm’s', {}, 'none'],
    ['the EKS add-on’s', managed('eks', { 'f:data': { 'f:Corefile': {} } }), 'eks'],
    [
      'a self-managed one on EKS',
      { labels: { 'eks.amazonaws.com/component': 'coredns' }, ...managed('kubectl', { 'f:data': {} }) },
      'none',
    ],
    ['one that EKS only labels', managed('eks', { 'f:metadata': {} }), 'none'],
    ['AKS’s', { labels: { 'addonmanager.kubernetes.io/mode': 'Reconcile' } }, 'addon-manager'],
    [
      'one that exists so that users can change it',
      { labels: { 'addonmanager.kubernetes.io/mode': 'EnsureExists' } },
      'none',
    ],
    ['Helm’s', { annotations: { 'meta.helm.sh/release-name': 'coredns' } }, 'helm'],
    ['kops’s', { labels: { 'addon.kops.k8s.io/name': 'coredns.addons.k8s.io' } }, 'kops'],
    ['Argo CD’s', { annotations: { 'argocd.argoproj.io/tracking-id': 'dns:/ConfigMap' } }, 'argocd'],
    ['Flux’s', { labels: { 'kustomize.toolkit.fluxcd.io/name': 'dns' } }, 'flux'],
    ['an operator’s', { ownerReferences: [{ kind: 'DNS', name: 'default' }] }, 'operator'],
  ]
  for (const [what, metadata, owner] of owners) {
    it(`is known of ${what}`, () => expect(ownerOf(map(metadata)).owner).to.equal(owner))
  }

  const place = (owner: DnsPlace['owner'], more: Partial<DnsPlace> = {}): DnsPlace => ({
    namespace: 'kube-system',
    name: 'coredns',
    key: 'Corefile',
    text: kubeadm,
    resourceVersion: '1',
    corefile: kubeadm,
    owner,
    ownerName: 'them',
    pods: null,
    nodeLocal: null,
    ...more,
  })
  const advice = (owner: DnsPlace['owner']) => ownerAdvice(place(owner), 'mesh.internal', '10.96.0.53') ?? ''

  it('is told how they want it', () => {
    expect(advice('none')).to.equal('')
    const eks = /--configuration-values '(.*)'\n/.exec(advice('eks'))?.[1] ?? ''
    expect(JSON.parse(eks).corefile).to.match(/^mesh\.internal:53 \{\n[^}]*forward \. 10\.96\.0\.53\n\}\n\.:53 \{/)
    const gke = /-p '(.*)'\n/.exec(advice('gke'))?.[1] ?? ''
    expect(JSON.parse(JSON.parse(gke).data.stubDomains)).to.deep.equal({ 'mesh.internal': ['10.96.0.53'] })
    const openshift = /-p '(.*)'\n/.exec(advice('openshift'))?.[1] ?? ''
    expect(JSON.parse(openshift).spec.servers[0]).to.deep.include({ zones: ['mesh.internal'] })
    for (const owner of ['addon-manager', 'helm', 'kops', 'argocd', 'flux', 'operator'] as const) {
      expect(advice(owner), owner).to.include('belongs to them').and.include('mesh.internal').and.include('10.96.0.53')
    }
  })

  it('is told of NodeLocal DNSCache where it would not ask', () => {
    const local =
      'cluster.local:53 {\n    bind 169.254.20.10 10.96.0.10\n    forward . __PILLAR__CLUSTER__DNS__ {\n    }\n}\n'
    const nodeLocal = (corefile: string) => ({ nodeLocal: { corefile, bind: '169.254.20.10 10.96.0.10' } })
    const say = (more: Partial<DnsPlace>) => nodeLocalAdvice(place('none', more), 'mesh.internal', '10.96.0.53')
    expect(say({})).to.equal(null)
    expect(say(nodeLocal(local)))
      .to.include('bind 169.254.20.10 10.96.0.10')
      .and.include('forward . 10.96.0.53 {')
    expect(say(nodeLocal(`mesh.internal:53 {\n}\n${local}`))).to.equal(null)
  })
})
