// What a container's process gets: argv, environment and working folder, made from its specification as the kubelet and
// the image would make them. Mount paths are replaced by the folders that really hold the volumes.

import { dirname, join, resolve } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import type { Container, EnvVar, Pod } from './objects.ts'

/** The repository, which images carry as `/app`. */
export const root = resolve(dirname(fileURLToPath(import.meta.url)), '../..')

const preload = pathToFileURL(join(root, 'scripts/local/names.ts')).href

export interface Surroundings {
  /** The pod's address. */
  address: string
  hostAddress: string
  /** Where names are asked for, as `address:port`. */
  dnsServer: string
  /** Real folders of the pod's volumes, by volume name. */
  volumes: ReadonlyMap<string, string>
  /** A folder of the pod's own. */
  home: string
  /** The kubeconfig that stands for the mounted token of the pod's ServiceAccount; undefined where none is mounted. */
  kubeconfig: string | undefined
  /** Reads a key of a ConfigMap or Secret of the pod's namespace. */
  value(kind: 'configmaps' | 'secrets', name: string, key: string): string | undefined
  /** Where Node keeps compiled code between processes. */
  compileCache: string
}

export interface Process {
  argv: string[]
  env: NodeJS.ProcessEnv
  cwd: string
  /** Turns another command of the container (a probe's or hook's) into what is really run. */
  resolve(command: string[]): string[]
}

/**
 * Makes what is run for a container.
 * @throws Error naming the field when it asks for something that local mode doesn't have
 */
export function processOf(pod: Pod, container: Container, around: Surroundings): Process {
  if (!container.command?.length) {
    throw new Error(`container ${container.name} states no command; local mode has no images and runs the command only`)
  }
  const relocate = relocator(container, around)
  const env: NodeJS.ProcessEnv = {}
  for (const variable of container.env ?? []) {
    const value = variableOf(pod, container, variable, around)
    if (value !== undefined) env[variable.name] = relocate(expand(value, env))
  }
  const resolveCommand = (command: string[]) => {
    const [file = '', ...args] = command.map((word) => relocate(expand(word, env)))
    return [file === 'node' ? process.execPath : file, ...args]
  }
  const argv = resolveCommand([...container.command, ...(container.args ?? [])])
  const cwd = relocate(container.workingDir ?? '/app')
  // The image's compiled code isn't here: local mode keeps its own.
  const over = { NODE_COMPILE_CACHE: around.compileCache, ...nodeOptions(env) }
  return { argv, cwd, env: { ...surrounding(pod, around), ...env, ...over }, resolve: resolveCommand }
}

function surrounding(pod: Pod, around: Surroundings): NodeJS.ProcessEnv {
  return {
    PATH: `${dirname(process.execPath)}:${process.env.PATH ?? '/usr/bin:/bin'}`,
    HOME: around.home,
    HOSTNAME: pod.metadata.name,
    LOCAL_POD_ADDRESS: around.address,
    LOCAL_POD_NAMESPACE: pod.metadata.namespace,
    LOCAL_DNS_SERVER: around.dnsServer,
    ...(around.kubeconfig === undefined ? {} : { KUBECONFIG: around.kubeconfig }),
  }
}

function nodeOptions(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return { NODE_OPTIONS: `--import=${preload}${env.NODE_OPTIONS ? ` ${env.NODE_OPTIONS}` : ''}` }
}

/** Replaces paths inside the container by the real ones, wherever one starts in a word. */
function relocator(container: Container, around: Surroundings): (word: string) => string {
  const places = new Map([['/app', root]])
  for (const { name, mountPath, subPath = '' } of container.volumeMounts ?? []) {
    const folder = around.volumes.get(name)
    if (folder === undefined) throw new Error(`container ${container.name} mounts volume ${name}, which the pod lacks`)
    places.set(mountPath.replace(/\/+$/, ''), join(folder, subPath))
  }
  const paths = [...places.keys()].sort((a, b) => b.length - a.length).map((path) => RegExp.escape(path))
  const pattern = new RegExp(`(?<=^|[=:, ])(?:${paths.join('|')})(?=$|[/:, ])`, 'g')
  return (word) => word.replace(pattern, (path) => places.get(path)!)
}

/** Kubernetes' own expansion: `$(NAME)` of a variable stated before, `$$(NAME)` for the text itself. */
export function expand(text: string, env: NodeJS.ProcessEnv): string {
  return text.replace(/\$(\$?)\(([^()]*)\)/g, (whole, escaped: string, name: string) =>
    escaped ? `$(${name})` : (env[name] ?? whole),
  )
}

function variableOf(pod: Pod, container: Container, variable: EnvVar, around: Surroundings): string | undefined {
  const { value, valueFrom } = variable
  if (!valueFrom) return value ?? ''
  if (valueFrom.fieldRef) return fieldOf(pod, valueFrom.fieldRef.fieldPath, around)
  if (valueFrom.resourceFieldRef) return wholeCores(container, valueFrom.resourceFieldRef.resource)
  const kind = valueFrom.configMapKeyRef ? 'configmaps' : 'secrets'
  const reference = valueFrom.configMapKeyRef ?? valueFrom.secretKeyRef
  if (!reference) throw new Error(`container ${container.name}: env ${variable.name} has an unknown valueFrom`)
  const found = around.value(kind, reference.name, reference.key)
  if (found === undefined && !reference.optional) {
    throw new Error(`container ${container.name}: env ${variable.name}: no key ${reference.key} in ${reference.name}`)
  }
  return found
}

function fieldOf(pod: Pod, path: string, around: Surroundings): string {
  const fields: Record<string, string | undefined> = {
    'metadata.name': pod.metadata.name,
    'metadata.namespace': pod.metadata.namespace,
    'metadata.uid': pod.metadata.uid,
    'spec.nodeName': pod.spec.nodeName,
    'spec.serviceAccountName': pod.spec.serviceAccountName ?? 'default',
    'status.podIP': around.address,
    'status.podIPs': around.address,
    'status.hostIP': around.hostAddress,
  }
  const [, map, key] = /^metadata\.(labels|annotations)\['(.+)'\]$/.exec(path) ?? []
  const found = map ? (pod.metadata[map as 'labels' | 'annotations']?.[key!] ?? '') : fields[path]
  if (found === undefined) throw new Error(`fieldRef ${path} is not known in local mode`)
  return found
}

/** A CPU quantity in whole cores, rounded up, which is what a divisor of 1 gives. */
function wholeCores(container: Container, resource: string): string {
  const [kind = '', name = ''] = resource.split('.')
  const quantity = container.resources?.[kind as 'requests' | 'limits']?.[name]
  if (name !== 'cpu' || quantity === undefined) {
    throw new Error(`container ${container.name}: resourceFieldRef ${resource} is not known in local mode`)
  }
  const text = String(quantity)
  return String(Math.ceil(text.endsWith('m') ? Number(text.slice(0, -1)) / 1000 : Number(text)))
}
