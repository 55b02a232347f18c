// Our block in the cluster's DNS configuration: how it stands, putting it in and taking it out. Only our key or our marked
// lines are ever written, and never behind a change that somebody else has just made.

import { hasStatus } from '../../errors.ts'
import { type Api, findObject } from '../../observe/api.ts'
import { defaultSettings } from '../../resolve/settings.ts'
import { diffOf } from '../diff.ts'
import { Exit, exits } from '../exits.ts'
import { readInstalled } from '../installed.ts'
import { blockFor, readBlock, refusal, withBlock, withoutBlock } from './corefile.ts'
import { type DnsPlace, findPlace } from './place.ts'

/** Everything about names under the mesh domain. */
export interface DnsState {
  domain: string
  /** ClusterIP of the Service weft-dns; empty if it is not there. */
  address: string
  place: DnsPlace
  /**
   * `missing`: never put in. `overwritten`: it was put in, and is gone. `stale`: for another domain or address.
   */
  block: 'present' | 'missing' | 'overwritten' | 'stale'
}

/** A write that has not been made yet. */
export interface Change {
  /** What it does to the text, as `diff -u` shows it. Empty: nothing. */
  diff: string
  make(): Promise<void>
}

interface DnsService {
  metadata: { annotations?: Record<string, string> }
  spec: { clusterIP?: string }
}

/** On the Service weft-dns: where the block was put, so that its loss is noticed. */
const recordAnnotation = 'weft.dev/dns-block'
const serviceName = 'weft-dns'

/**
 * Reads how names under the mesh domain stand.
 * @param namespace the mesh's own
 * @throws ApiError
 */
export async function readDns(api: Api, namespace: string): Promise<DnsState> {
  const [{ settings }, service, place] = await Promise.all([
    readInstalled(api, namespace),
    readService(api, namespace),
    findPlace(api),
  ])
  const domain = settings.meshDomain || defaultSettings.meshDomain
  const address = service?.spec.clusterIP ?? ''
  const held = place.text === null ? null : readBlock(place.text)
  const wasPut = service?.metadata.annotations?.[recordAnnotation] !== undefined
  const lost = wasPut ? 'overwritten' : 'missing'
  const block = held === null ? lost : held === blockFor(domain, address) ? 'present' : 'stale'
  return { domain, address, place, block }
}

function readService(api: Api, namespace: string): Promise<DnsService | null> {
  return findObject<DnsService>(api, servicePath(namespace))
}

function servicePath(namespace: string): string {
  return `/api/v1/namespaces/${encodeURIComponent(namespace)}/services/${serviceName}`
}

/**
 * Prepares putting the block in.
 * @throws Exit if there is nowhere to put it, or nothing to forward to
 */
export function planInstall(api: Api, namespace: string, { domain, address, place }: DnsState): Change {
  if (address === '') {
    throw new Exit(
      exits.failed,
      `Service ${namespace}/${serviceName} is not there, so there is nobody to ask; install the mesh first: weft install --apply`,
    )
  }
  const title = titleOf(place)
  if (place.corefile === '') {
    throw new Exit(
      exits.failed,
      `no Corefile was found (${title}); does this cluster use CoreDNS? See its documentation`,
    )
  }
  const why = refusal(place.corefile, domain)
  if (why !== null) throw new Exit(exits.failed, `the Corefile can't take a block for ${domain}: ${why}`)
  const before = place.text ?? ''
  const after = withBlock(before, blockFor(domain, address))
  return {
    diff: diffOf(title, before, after),
    async make() {
      await write(api, place, after)
      await record(api, namespace, `${place.namespace}/${place.name}/${place.key}`)
    },
  }
}

/** Prepares taking the block out, leaving everything else byte for byte as it is. */
export function planRemove(api: Api, namespace: string, { address, place }: DnsState): Change {
  const before = place.text ?? ''
  const after = withoutBlock(before)
  return {
    diff: diffOf(titleOf(place), before, after),
    async make() {
      if (after !== before) await write(api, place, after === '' ? null : after)
      if (address !== '') await record(api, namespace, null)
    },
  }
}

/** `ConfigMap namespace/name key` */
export function titleOf({ namespace, name, key }: DnsPlace): string {
  return `ConfigMap ${namespace}/${name} ${key}`
}

const labels = { 'app.kubernetes.io/managed-by': 'weft', 'app.kubernetes.io/part-of': 'weft' }

/** @param text null: the key goes, and the ConfigMap if we made it and nothing else is in it */
async function write(
  api: Api,
  { namespace, name, key, resourceVersion }: DnsPlace,
  text: string | null,
): Promise<void> {
  const root = `/api/v1/namespaces/${namespace}/configmaps`
  try {
    if (resourceVersion === null) {
      await api.request('POST', root, {
        query: { fieldManager: 'weft-cli' },
        body: { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, namespace, labels }, data: { [key]: text } },
      })
      return
    }
    const body = { metadata: { resourceVersion }, data: { [key]: text } }
    const after = await api.request<{ metadata: { labels?: Record<string, string> }; data?: object }>(
      'PATCH',
      `${root}/${name}`,
      { body, contentType: 'application/merge-patch+json', query: { fieldManager: 'weft-cli' } },
    )
    const isOurs = after.metadata.labels?.['app.kubernetes.io/managed-by'] === 'weft'
    if (isOurs && Object.keys(after.data ?? {}).length === 0) await api.request('DELETE', `${root}/${name}`)
  } catch (error) {
    if (!hasStatus(error, 409)) throw error
    throw new Exit(
      exits.failed,
      `${namespace}/${name} was changed by somebody else just now; nothing was written, run it again`,
    )
  }
}

async function record(api: Api, namespace: string, where: string | null): Promise<void> {
  const body = { metadata: { annotations: { [recordAnnotation]: where } } }
  await api.request('PATCH', servicePath(namespace), {
    body,
    contentType: 'application/merge-patch+json',
    query: { fieldManager: 'weft-cli' },
  })
}
