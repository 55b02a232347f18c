// A data thread that carries nothing: takes snapshots and messages as the real one does. The name of the agent's pod
// says how it misbehaves.

import { parentPort, workerData } from 'node:worker_threads'
import { Holder } from '../../agent/mesh/holder.ts'
import type { FromThread, ThreadStart, ToThread } from '../../agent/mesh/thread.ts'
import { Counters } from '../../agent/observe/counters.ts'

const { config, thread } = workerData as ThreadStart
const manner = config.pod
const port = parentPort!
const post = (message: FromThread) => port.postMessage(message)

if (manner === 'fails') throw new Error('no luck today')

const counters = new Counters(post, config.limits.series)
const holder = new Holder({
  node: config.node,
  now: () => performance.now(),
  compile: (matches) =>
    matches.map((match) => {
      if (match.path === '(') throw new Error(`match ${match.name}: no regular expression`)
      return { name: match.name, test: () => true }
    }),
})
let accepted = 0
let beats = 0

holder.onChange(({ version }) => {
  const failed = manner === 'portless' && thread === 0 ? [{ port: 16384, message: 'listen EADDRINUSE' }] : []
  post({ type: 'listening', version, open: 1, failed })
})

port.on('message', (message: ToThread) => {
  switch (message.type) {
    case 'prepare':
    case 'commit':
    case 'abort': {
      const answer = holder.handle(message)
      if (answer !== null) post(answer)
      break
    }
    case 'beat':
      // Callers come for the first few beats of the draining.
      if (manner === 'busy' && beats++ < 6) accepted++
      post({ type: 'heartbeat', number: message.number, accepted, open: manner === 'stuck' ? 1 : 0 })
      break
    case 'ask':
      if (manner === 'dies' && message.what === 'exchanges') process.exit(7)
      post({ type: 'answer', id: message.id, value: { what: message.what, version: holder.snapshot.version } })
      break
    case 'level':
      post({ type: 'log', level: message.level, message: 'level changed', fields: { thread } })
      break
    case 'drain':
      post({ type: 'lines', text: `draining ${thread}\n` })
      break
    case 'close':
      if (manner !== 'stuck') post({ type: 'drained' })
      break
    case 'end':
      post({ type: 'drained' })
  }
})

counters.route('outbound', 'shop/a', 80, 'shop/a:80').settle(200, -1, 1, 0, 0)
post({ type: 'started' })
