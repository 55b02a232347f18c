// The benchmark's API server as a process of its own: filled at its start, changed as its parent says.

import { type Asked, type ListWatch, startListWatch } from './api.ts'
import {
  addPods,
  deployment,
  fill,
  type Live,
  nameOf,
  namespaceOf,
  podObject,
  type Seat,
  type Size,
  seatsOf,
  sliceLength,
  sliceObject,
  splitObject,
} from './world.ts'

/** What the parent may ask for; each is answered by a Reply with its id. */
export type Command =
  | { do: 'start'; size: Size; live: Live }
  /** One pod of a Service becomes (un)ready, as kubelet and endpoint controller would say it. */
  | { do: 'endpoint'; service: number; isReady: boolean }
  | { do: 'weight'; split: number; weight: number }
  /** The large Deployment's pod of that number is replaced by one of the next generation. */
  | { do: 'replace'; index: number; generation: number }
  /** Out of reach from now on. */
  | { do: 'leave' }
  /** Every pod and every slice is another one, and nobody may go on from before. */
  | { do: 'changeAll'; generation: number }
  | { do: 'return' }
  | { do: 'asked' }

export type Request = Command & { id: number }

export interface Reply {
  id: number
  /** Milliseconds since the epoch when it was done: when watchers had been written to. */
  at: number
  url: string
  certificate: string
  asked: Asked[]
}

let api: ListWatch
let size: Size
/** Of the large Deployment. */
let large: Seat[] = []

const slices = 'discovery.k8s.io/endpointslices'

async function obey(command: Command): Promise<number> {
  switch (command.do) {
    case 'start':
      size = command.size
      api = await startListWatch('127.0.0.1')
      fill(api.put, size, command.live)
      large = seatsOf(0, size)
      api.compact()
      return 0
    case 'endpoint':
      return turn(command.service, command.isReady)
    case 'weight':
      return api.put('split.smi-spec.io/trafficsplits', splitObject(command.split, command.weight, size))
    case 'replace':
      return replace(command.index, command.generation)
    case 'leave':
      await api.leave()
      return Date.now()
    case 'changeAll':
      changeAll(command.generation)
      return Date.now()
    case 'return':
      await api.comeBack()
      return Date.now()
    case 'asked':
      return Date.now()
  }
}

function turn(service: number, isReady: boolean): number {
  const seats = seatsOf(service, size)
  const first = { ...seats[0]!, isReady }
  api.put('pods', podOf(service, first))
  return api.put(slices, sliceObject(service, 0, [first, ...seats.slice(1)]))
}

function podOf(service: number, { pod, node, address, isReady }: Seat, isEnding = false) {
  const name = nameOf(service)
  return podObject(namespaceOf(service), pod, { node, address, account: name, owner: name, isReady, isEnding })
}

/** The new pod comes, gets ready and is an endpoint; the old one ends. */
function replace(index: number, generation: number): number {
  const { namespace } = deployment
  const old = large[index]!
  const next: Seat = { ...old, ...renewed(old, index, generation) }
  api.put('pods', podOf(0, { ...next, isReady: false }))
  api.put('pods', podOf(0, next))
  api.put('pods', podOf(0, { ...old, isReady: false }, true))
  large[index] = next
  const part = Math.floor(index / sliceLength)
  const at = api.put(slices, sliceObject(0, part, large.slice(part * sliceLength, (part + 1) * sliceLength)))
  api.remove('pods', namespace, old.pod)
  return at
}

/** Its name and an address that nobody else has. */
function renewed({ node }: Seat, index: number, generation: number): Pick<Seat, 'pod' | 'address'> {
  const pod = seatsOf(0, size, generation)[index]!.pod
  return { pod, address: `10.${32 + (node >> 8)}.${node & 255}.${200 + (generation % 50)}` }
}

function changeAll(generation: number): void {
  for (let service = 0; service < size.services; service++) {
    const gone = service === 0 ? large : seatsOf(service, size)
    for (const { pod } of gone) api.remove('pods', namespaceOf(service), pod)
    addPods(api.put, service, size, generation)
  }
  large = seatsOf(0, size, generation)
  api.compact()
}

process.on('message', async ({ id, ...command }: Request) => {
  const at = await obey(command as Command)
  const asked = command.do === 'asked' ? api.asked() : []
  process.send!({ id, at, url: api.url, certificate: api.certificate, asked } satisfies Reply)
})
process.on('disconnect', () => process.exit(0))
