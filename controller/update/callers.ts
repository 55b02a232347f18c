// What agents have noticed of callers, as Events on the callers' pods and on the Services that they call: a caller that
// speaks another protocol than its port carries finds there what to change. Agents are believed only as to pods of their
// own node, and no more than a little each.

import type { Clock } from '../clock.ts'
import type { CallerNotice, Report } from '../contract/messages.ts'
import { type ObjectRef, refOf } from '../observe/objects.ts'
import type { World } from '../observe/world.ts'
import type { Notice } from './events.ts'

/** Agents report again long before this. */
const keptMs = 40 * 60_000

interface Heard {
  readonly notices: readonly CallerNotice[]
  /** Clock's ms of the report. */
  readonly at: number
}

export interface Callers {
  /** Takes an authenticated agent's report, which replaces its last one. @returns whether it says something new */
  take(report: Report): boolean
  /** What the reports come to, for pods and Services that there are. */
  notices(world: World): Notice[]
}

/** Opens the memory of what agents have noticed. */
export function openCallers(clock: Clock): Callers {
  const byNode = new Map<string, Heard>()

  function forget(): void {
    const now = clock.now()
    for (const [node, { at }] of byNode) if (now - at > keptMs) byNode.delete(node)
  }

  return {
    take({ node, notices = [] }) {
      forget()
      const known = new Set(byNode.get(node)?.notices.map(keyOf))
      if (notices.length === 0) byNode.delete(node)
      else byNode.set(node, { notices, at: clock.now() })
      return notices.some((notice) => !known.has(keyOf(notice)))
    },
    notices(world) {
      forget()
      return [...byNode].flatMap(([node, { notices }]) => notices.flatMap((notice) => eventsOf(node, notice, world)))
    },
  }
}

function keyOf({ kind, podUid, port, service }: CallerNotice): string {
  return `${kind} ${podUid} ${port} ${service}`
}

function eventsOf(node: string, notice: CallerNotice, world: World): Notice[] {
  const pod = world.pods.get(notice.pod)
  if (pod === undefined || pod.metadata.uid !== notice.podUid || pod.spec.nodeName !== node) return []
  const service = notice.service === '' ? undefined : world.services.get(notice.service)
  const event = (object: ObjectRef, message: string): Notice => ({
    object,
    reason: reasons[notice.kind],
    message,
    fades: true,
  })
  const { caller, owner } = messages(notice)
  const onPod = event(refOf(pod), caller)
  return service === undefined ? [onPod] : [onPod, event(refOf(service), owner)]
}

const reasons: Record<CallerNotice['kind'], string> = {
  'tls-on-http': 'TlsOnHttpPort',
  'h2-on-shared': 'Http2OnHttpPort',
}

function messages({ kind, pod, port, service }: CallerNotice): { caller: string; owner: string } {
  const where = port === 0 ? "the mesh's entry port" : `port ${port} of ${service === '' ? 'the mesh' : service}`
  if (kind === 'tls-on-http') {
    const fix =
      "name the Service's port https-… or set its appProtocol to https, and the mesh passes it on unread at an address of its own"
    return {
      caller: `calls ${where} with TLS, which is closed, as HTTP is spoken there: call it with http:// (between nodes the mesh encrypts by itself), or ${fix}`,
      owner: `${pod} calls port ${port} with TLS, which is closed, as the port is for HTTP: ${fix}; or the caller uses http://`,
    }
  }
  const fix =
    "set the appProtocol of the Service's port to kubernetes.io/h2c or grpc: it gets an address of its own then"
  return {
    caller: `calls ${where} with HTTP/2, which is closed, as HTTP/1.1 is spoken there: call it with HTTP/1.1, or ${fix}`,
    owner: `${pod} calls port ${port} with HTTP/2, which is closed, as the port is for HTTP/1.1: ${fix}`,
  }
}
