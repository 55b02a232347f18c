// The authority's objects in Kubernetes: the root that is wanted, the state that is worked from, what is published, and
// what agents acknowledged to other replicas. Created without a race by whichever replica is first.

import { trustConfig } from '../contract/identity.ts'
import { makeRoot } from './issue.ts'
import { type Root, RootError, type RootSecret, readRoot } from './root.ts'
import { type Acknowledgement, firstWorking, loadWorking, storeWorking, trustOf, type Working } from './rotate.ts'
import { managedLabels, type Store, type Stored } from './store.ts'

/** The root that the mesh is to have; whoever brings their own root writes it here. */
export const rootSecret = 'weft-root'
/** What the authority signs with now, and what a rotation needs. */
export const workingSecret = 'weft-authority'
/** Acknowledgements of a rotation, a key for each replica. */
export const acknowledgedConfig = 'weft-rotation'

/** Ten years. */
export const rootLifetimeMs = 10 * 365 * 86_400_000

function rootFields(stored: Stored): RootSecret {
  const crt = stored.data['tls.crt']
  const key = stored.data['tls.key']
  const ca = stored.data['ca.crt']
  if (crt === undefined || key === undefined)
    throw new RootError(`Secret ${rootSecret} lacks ${crt === undefined ? 'tls.crt' : 'tls.key'}`)
  return { 'tls.crt': crt, 'tls.key': key, ...(ca === undefined || ca === '' ? {} : { 'ca.crt': ca }) }
}

function ownRoot(now: number, version?: string): Stored {
  const { certificate, key } = makeRoot(now, rootLifetimeMs)
  return {
    type: 'kubernetes.io/tls',
    labels: { ...managedLabels },
    annotations: {},
    data: { 'tls.crt': certificate, 'tls.key': key, 'ca.crt': certificate },
    ...(version === undefined ? {} : { version }),
  }
}

const isOwn = (stored: Stored): boolean =>
  Object.entries(managedLabels).every(([name, value]) => stored.labels[name] === value)

/** The wanted root as it was read. */
export interface WantedRoot {
  root: Root
  secret: RootSecret
  /** Made by an authority, which may therefore replace it. */
  isOwn: boolean
}

/**
 * Reads the wanted root.
 * @returns null if there is none
 * @throws RootError if it can't be used
 */
export async function readWanted(store: Store, now: number): Promise<WantedRoot | null> {
  const stored = await store.read('secrets', rootSecret)
  if (stored === null) return null
  const secret = rootFields(stored)
  return { root: readRoot(secret, now), secret, isOwn: isOwn(stored) }
}

/**
 * Reads the state; at the very first start makes it, and the root too unless one was given.
 * @throws RootError if a given root can't be used
 */
export async function readWorking(store: Store, now: number): Promise<{ working: Working; version: string }> {
  for (;;) {
    const stored = await store.read('secrets', workingSecret)
    if (stored !== null) return { working: loadWorking(stored, now), version: stored.version ?? '' }
    const wanted = await readWanted(store, now)
    // Whoever creates first wins; all others read what it wrote.
    if (wanted === null) await store.create('secrets', rootSecret, ownRoot(now))
    else await store.create('secrets', workingSecret, storeWorking(firstWorking(wanted.root, wanted.secret, now)))
  }
}

/**
 * Asks for a rotation by putting a new root in the place of the wanted one (`weft ca rotate`).
 * @throws RootError if the root was given: then its giver must replace it
 */
export async function replaceRoot(store: Store, now: number): Promise<void> {
  const stored = await store.read('secrets', rootSecret)
  if (stored !== null && !isOwn(stored)) {
    throw new RootError(
      `the root in Secret ${rootSecret} was given, not made by the mesh: put the new one there, and it rotates the same way`,
    )
  }
  const isDone =
    stored === null
      ? await store.create('secrets', rootSecret, ownRoot(now))
      : await store.replace('secrets', rootSecret, ownRoot(now, stored.version))
  if (!isDone) throw new RootError(`Secret ${rootSecret} was changed by somebody else at the same moment; look again`)
}

/**
 * Publishes what belongs to a state, if it isn't already.
 * @param isLeader the others only fill in what is not there yet: what they know may be seconds old
 */
export async function publishTrust(
  store: Store,
  working: Working,
  controller: string,
  isLeader: boolean,
): Promise<void> {
  const data = {
    [trustConfig.bundle]: trustOf(working),
    [trustConfig.controller]: controller,
    [trustConfig.signer]: working.signing.id,
  }
  const stored = await store.read('configmaps', trustConfig.name)
  if (stored === null) {
    await store.create('configmaps', trustConfig.name, { labels: { ...managedLabels }, annotations: {}, data })
  } else if (isLeader && Object.entries(data).some(([key, value]) => stored.data[key] !== value)) {
    await store.replace('configmaps', trustConfig.name, { ...stored, data: { ...stored.data, ...data } })
  }
}

/** The newest that each agent said to any replica. */
export function mergeAcknowledged(all: Iterable<Acknowledgement>): Map<string, Acknowledgement> {
  const merged = new Map<string, Acknowledgement>()
  for (const each of all) {
    const known = merged.get(each.pod)
    if (known === undefined || known.at < each.at) merged.set(each.pod, each)
  }
  return merged
}

/** Shares a replica's acknowledgements with the others and gives those of all; `null` clears them after a rotation. */
export async function shareAcknowledged(
  store: Store,
  replica: string,
  own: readonly Acknowledgement[] | null,
): Promise<Acknowledgement[]> {
  const stored = await store.read('configmaps', acknowledgedConfig)
  if (own === null) {
    if (stored !== null && Object.keys(stored.data).length > 0)
      await store.replace('configmaps', acknowledgedConfig, { ...stored, data: {} })
    return []
  }
  const text = JSON.stringify(own)
  const data = { ...stored?.data, [replica]: text }
  if (stored === null) {
    await store.create('configmaps', acknowledgedConfig, { labels: { ...managedLabels }, annotations: {}, data })
  } else if (stored.data[replica] !== text) {
    await store.replace('configmaps', acknowledgedConfig, { ...stored, data })
  }
  return Object.values(data).flatMap((each) => JSON.parse(each) as Acknowledgement[])
}
