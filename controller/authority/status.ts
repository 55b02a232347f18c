// Where the root stands, as anybody sees it who may read the authority's objects: for the command line, which has no
// controller's memory to ask.

import { agentAccount } from '../contract/identity.ts'
import type { Api } from '../observe/api.ts'
import type { Pod } from '../observe/objects.ts'
import { emptyWorld } from '../observe/world.ts'
import { acknowledgedConfig, mergeAcknowledged, readWanted, workingSecret } from './keep.ts'
import { podIndex } from './pods.ts'
import { type Root, RootError } from './root.ts'
import { type Acknowledgement, loadWorking, type RotationStatus, type Working, waitingFor } from './rotate.ts'
import { kubeStore, type Store } from './store.ts'

function describe(root: Root): RotationStatus['signing'] {
  return {
    id: root.id,
    subject: root.certificate.subject.replaceAll('\n', ', '),
    expires: new Date(root.expires).toISOString(),
  }
}

/**
 * A status from a state.
 * @param waiting pods of the agents that the phase waits for
 * @param problem why the wanted root can't be used
 */
export function statusOf(working: Working, waiting: string[], problem: string): RotationStatus {
  return {
    phase: working.phase,
    since: new Date(working.since).toISOString(),
    signing: describe(working.signing),
    incoming: working.incoming === null ? null : describe(working.incoming),
    waiting,
    problem,
  }
}

async function problemOf(store: Store, now: number): Promise<string> {
  try {
    await readWanted(store, now)
    return ''
  } catch (thrown) {
    if (thrown instanceof RootError) return thrown.message
    throw thrown
  }
}

/**
 * Reads the status from the API server.
 * @param now milliseconds since the epoch
 * @returns null if there is no root yet
 */
export async function readRotation(
  api: Pick<Api, 'request'>,
  namespace: string,
  now: number,
): Promise<RotationStatus | null> {
  const store = kubeStore(api, namespace)
  const stored = await store.read('secrets', workingSecret)
  if (stored === null) return null
  const working = loadWorking(stored, now)
  const problem = await problemOf(store, now)
  if (working.phase === 'steady') return statusOf(working, [], problem)

  const said = await store.read('configmaps', acknowledgedConfig)
  const acknowledged = Object.values(said?.data ?? {}).flatMap((text) => JSON.parse(text) as Acknowledgement[])
  const list = await api.request<{ items: Pod[] }>('GET', `/api/v1/namespaces/${namespace}/pods`)
  const pods = new Map(list.items.map((pod) => [`${namespace}/${pod.metadata.name}`, pod]))
  const agents = podIndex(() => ({ ...emptyWorld, pods }), { namespace, account: agentAccount }).agents()
  const waiting = waitingFor(working, {
    now,
    wanted: null,
    agents: agents.filter((pod) => pod.isReady && pod.isLive).map((pod) => pod.key),
    acknowledged: mergeAcknowledged(acknowledged),
    lifetimeMs: 0,
  })
  return statusOf(working, waiting, problem)
}
