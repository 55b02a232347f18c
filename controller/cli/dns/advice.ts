// What to do by hand where the cluster's DNS is not ours to change, and where something stands before it.

import { refusal } from './corefile.ts'
import type { DnsPlace, Owner } from './place.ts'

/** How an owner wants it said. */
type Advice = (place: DnsPlace, domain: string, address: string) => string

const indent = (text: string, by: string) => text.replace(/^(?=.)/gm, by)

/** The bare block, for whoever writes a Corefile himself. */
function plain(domain: string, address: string): string {
  return `${domain}:53 {\n    errors\n    cache 3\n    forward . ${address}\n}\n`
}

function source(place: DnsPlace, domain: string, address: string): string {
  return `It would put its own content back. Add this block to the Corefile at the source of ${place.ownerName}:

${indent(plain(domain, address), '  ')}`
}

const byOwner: Record<Exclude<Owner, 'none'>, Advice> = {
  eks: ({ corefile }, domain, address) => {
    const whole = JSON.stringify({ corefile: plain(domain, address) + corefile })
    return `Give the add-on the whole Corefile, with the block in it:

  aws eks update-addon --addon-name coredns --cluster-name NAME --resolve-conflicts PRESERVE \\
    --configuration-values '${whole.replaceAll("'", "'\\''")}'
`
  },
  gke: (_place, domain, address) => `The cluster runs kube-dns, which takes stub domains. Merge this into the ConfigMap:

  kubectl -n kube-system patch configmap kube-dns --type merge \\
    -p '${JSON.stringify({ data: { stubDomains: JSON.stringify({ [domain]: [address] }) } })}'

If it has stubDomains already, add "${domain}" to those instead. With Cloud DNS for GKE, make a private forwarding zone.
`,
  openshift: (_place, domain, address) => {
    const servers = [{ name: 'weft', zones: [domain], forwardPlugin: { upstreams: [`${address}:53`] } }]
    return `Tell the DNS operator; it writes the Corefile:

  oc patch dns.operator/default --type merge -p '${JSON.stringify({ spec: { servers } })}'

If it has servers already, add this one to those instead.
`
  },
  'addon-manager': ({ namespace }, domain, address) => `It would put its own content back. On AKS make the ConfigMap \
coredns-custom and run this again:

  kubectl -n ${namespace} create configmap coredns-custom

Elsewhere, add this block to the add-on's own Corefile:

${indent(plain(domain, address), '  ')}`,
  helm: ({ ownerName }, domain, address) => `The next upgrade of ${ownerName} would take the block out. Add it to \
the release's values (servers, as the chart coredns has them):

  servers:
    - zones: [{ zone: ${domain} }]
      port: 53
      plugins:
        - { name: errors }
        - { name: cache, parameters: 3 }
        - { name: forward, parameters: . ${address} }
`,
  kops: source,
  argocd: source,
  flux: source,
  operator: source,
}

/** What to do where somebody else owns the configuration; null where nobody does. */
export function ownerAdvice(place: DnsPlace, domain: string, address: string): string | null {
  if (place.owner === 'none') return null
  return `ConfigMap ${place.namespace}/${place.name} belongs to ${place.ownerName}. ${byOwner[place.owner](place, domain, address)}`
}

/** What to set where NodeLocal DNSCache would not ask the cluster's DNS for the domain; null where it would. */
export function nodeLocalAdvice({ nodeLocal }: DnsPlace, domain: string, address: string): string | null {
  // A block for the domain is what is wanted there, whoever wrote it.
  if (nodeLocal === null || refusal(nodeLocal.corefile, domain) !== null) return null
  return `NodeLocal DNSCache answers on the nodes and sends ${domain} to the nodes' own resolvers, not to CoreDNS. Add this \
block to the Corefile in ConfigMap kube-system/node-local-dns:

  ${domain}:53 {
      errors
      cache 3
      bind ${nodeLocal.bind}
      forward . ${address} {
          force_tcp
      }
  }
`
}
