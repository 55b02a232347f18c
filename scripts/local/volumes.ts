// The volumes of a pod as real folders: emptyDir, ConfigMaps and Secrets, which follow their objects, and projected tokens,
// which are renewed in time.

import { mkdirSync, readlinkSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { type Cluster, onChange } from './cluster.ts'
import type { KubeObject, Pod, Volume } from './objects.ts'

export interface Volumes {
  /** Real folders by volume name. */
  folders: Map<string, string>
  /** The kubeconfig that stands for the token that Kubernetes mounts into every pod unless told not to. */
  kubeconfig: string | undefined
  /** Ends the renewal of tokens, and of what ConfigMaps and Secrets say. */
  close(): void
}

/** The kubelet renews a token when this share of its life has passed. */
const renewAfter = 0.8
/** The life of a token whose volume states none, and of the one in the kubeconfig. */
const defaultSeconds = 3600
/** The audience that the API server accepts. */
const apiAudience = 'https://kubernetes.default.svc'

/**
 * Makes the folders and fills them.
 * @param folder the pod's own
 * @throws Error naming the volume that local mode can't provide
 */
export function mountVolumes(cluster: Cluster, pod: Pod, folder: string): Volumes {
  const timers = new Set<NodeJS.Timeout>()
  const folders = new Map<string, string>()
  const refreshes: (() => void)[] = []

  /** Writes a token file, and again before each token ends. */
  function keepToken(audience: string, seconds: number, write: (token: string) => void): void {
    const account = pod.spec.serviceAccountName ?? 'default'
    const { token, expires } = cluster.token(pod.metadata, account, audience, seconds)
    write(token)
    const timer = setTimeout(
      () => {
        timers.delete(timer)
        try {
          keepToken(audience, seconds, write)
        } catch {
          // A pod or account that has just been deleted gets no token any more.
        }
      },
      (expires - Date.now()) * renewAfter,
    )
    timers.add(timer)
  }

  function end(): void {
    for (const timer of timers) clearTimeout(timer)
  }

  function mount(volume: Volume): void {
    const path = join(folder, 'volumes', volume.name)
    mkdirSync(path, { recursive: true })
    folders.set(volume.name, path)
    const refresh = dataWriter(path, () => filesOf(cluster, pod, volume))
    refresh()
    if (hasData(volume)) refreshes.push(refresh)
    for (const { serviceAccountToken } of volume.projected?.sources ?? []) {
      if (!serviceAccountToken) continue
      const { audience = apiAudience, expirationSeconds = defaultSeconds, path: file } = serviceAccountToken
      keepToken(audience, expirationSeconds, (token) => writeWhole(join(path, file), token))
    }
  }

  try {
    for (const volume of pod.spec.volumes ?? []) mount(volume)
  } catch (error) {
    end()
    // Another attempt starts from nothing.
    rmSync(join(folder, 'volumes'), { recursive: true, force: true })
    throw error
  }
  let kubeconfig: string | undefined
  if (pod.spec.automountServiceAccountToken !== false) {
    kubeconfig = join(folder, 'kubeconfig')
    keepToken(apiAudience, defaultSeconds, (token) => writeWhole(kubeconfig!, cluster.kubeconfig(token)))
  }
  const follow = () => {
    for (const refresh of refreshes) {
      try {
        refresh()
      } catch {
        // What must be there and has been deleted stays as it was, as in a cluster.
      }
    }
  }
  const unwatch = refreshes.length === 0 ? () => {} : onChange(cluster, ['configmaps', 'secrets'], follow)
  return {
    folders,
    kubeconfig,
    close: () => {
      unwatch()
      end()
    },
  }
}

/** Readers see the old file or the new one, never half of one. */
function writeWhole(file: string, content: string | Buffer): void {
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(`${file}.new`, content, { mode: 0o600 })
  renameSync(`${file}.new`, file)
}

function hasData({ configMap, secret, projected }: Volume): boolean {
  const sources = projected?.sources ?? []
  return configMap !== undefined || secret !== undefined || sources.some((source) => source.configMap || source.secret)
}

/**
 * Writes a volume's files, and again where they have changed: all of them change at once, by one symbolic link, as the
 * kubelet does it.
 */
function dataWriter(path: string, read: () => [string, Buffer][]): () => void {
  let known = '[]'
  let generation = 0
  return () => {
    const files = read()
    const text = JSON.stringify(files.map(([file, content]) => [file, content.toString('base64')]))
    if (text === known) return
    const names = new Set(files.map(([file]) => file))
    const before = (JSON.parse(known) as [string, string][]).map(([file]) => file)
    known = text
    const folder = `..${++generation}`
    mkdirSync(join(path, folder))
    for (const [file, content] of files) writeFileSync(join(path, folder, file), content, { mode: 0o600 })
    for (const file of names) if (!before.includes(file)) symlinkSync(join('..data', file), join(path, file))
    const old = generation === 1 ? undefined : readlinkSync(join(path, '..data'))
    symlinkSync(folder, join(path, '..data.new'))
    renameSync(join(path, '..data.new'), join(path, '..data'))
    for (const file of before) if (!names.has(file)) rmSync(join(path, file))
    if (old !== undefined) rmSync(join(path, old), { recursive: true })
  }
}

interface Data extends KubeObject {
  data?: Record<string, string>
  binaryData?: Record<string, string>
}

function filesOf(cluster: Cluster, pod: Pod, volume: Volume): [string, Buffer][] {
  const sources = [
    ...(volume.configMap ? [{ configMap: volume.configMap }] : []),
    ...(volume.secret ? [{ secret: { ...volume.secret, name: volume.secret.secretName } }] : []),
    ...(volume.projected?.sources ?? []),
  ]
  const known = volume.emptyDir ?? volume.configMap ?? volume.secret ?? volume.projected
  if (known === undefined) throw new Error(`volume ${volume.name} is of a kind that local mode doesn't have`)
  return sources.flatMap((source) => {
    const [resource, wanted] =
      'secret' in source ? ['secrets' as const, source.secret] : ['configmaps' as const, source.configMap]
    if (!wanted) return []
    const found = cluster.get<Data>(resource, pod.metadata.namespace!, wanted.name)
    if (!found && !wanted.optional) throw new Error(`volume ${volume.name}: no ${resource.slice(0, -1)} ${wanted.name}`)
    const plain = resource === 'secrets' ? 'base64' : 'utf8'
    return [
      ...Object.entries(found?.data ?? {}).map(([key, text]): [string, Buffer] => [key, Buffer.from(text, plain)]),
      ...Object.entries(found?.binaryData ?? {}).map(([key, text]): [string, Buffer] => [
        key,
        Buffer.from(text, 'base64'),
      ]),
    ]
  })
}
