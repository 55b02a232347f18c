// What the stats port shows of the agents' links: who is how far behind, and what it costs to keep them in step.

import type { Counter, Gauge } from 'prom-client'
import type { AgentState, Transmitter } from '../transmit/transmitter.ts'
import { gatheredMs } from '../transmit/unacked.ts'

type Define<M> = (name: string, help: string, labelNames: string[], read: (set: M) => void) => void

/** What an agent made of what it was sent. */
export function agentState({ error, sent, applied, lagMs }: Pick<AgentState, 'error' | 'sent' | 'applied' | 'lagMs'>) {
  if (error !== null) return 'refused'
  return sent === applied || lagMs < gatheredMs ? 'current' : 'behind'
}

/**
 * Defines the metrics of the links. Those of single agents have the node as label: there is one agent to a node, and a series
 * ends with the session.
 * @param transmitter gives null until it has started
 */
export function transmitMetrics(
  gauge: Define<Gauge>,
  counter: Define<Counter>,
  transmitter: () => Transmitter | null,
): void {
  const connected = () => (transmitter()?.agents() ?? []).filter(({ isConnected }) => isConnected)
  gauge(
    'weft_controller_agents',
    'Agents with a session here: in force what was sent (current), not yet (behind), or the last snapshot refused',
    ['state'],
    (set) => {
      const count = { current: 0, behind: 0, refused: 0 }
      for (const agent of connected()) count[agentState(agent)]++
      for (const [state, number] of Object.entries(count)) set.set({ state }, number)
    },
  )
  gauge('weft_controller_agent_contract', 'Agents with a session here, by contract version', ['version'], (set) => {
    for (const { contract } of connected()) set.inc({ version: String(contract) })
  })
  gauge(
    'weft_controller_agent_lag_seconds',
    'For how long an agent with a session here has not said to have the newest snapshot in force; they gather what they say for up to 3 s',
    ['node'],
    (set) => {
      for (const { node, lagMs } of connected()) set.set({ node }, lagMs / 1000)
    },
  )
  counter(
    'weft_controller_agent_reports_total',
    'Reports of an agent with a session here: a snapshot is in force (applied), or was refused',
    ['node', 'result'],
    (set) => {
      for (const { node, acks, rejections } of connected()) {
        set.inc({ node, result: 'applied' }, acks)
        set.inc({ node, result: 'refused' }, rejections)
      }
    },
  )
  counter(
    'weft_controller_agent_transactions_total',
    'Transactions sent to an agent in its session here',
    ['node', 'kind'],
    (set) => {
      for (const { node, transactions, fulls } of connected()) {
        set.inc({ node, kind: 'full' }, fulls)
        set.inc({ node, kind: 'delta' }, transactions - fulls)
      }
    },
  )
  counter('weft_controller_agent_bytes_total', 'Bytes sent to an agent in its session here', ['node'], (set) => {
    for (const { node, bytes } of connected()) set.inc({ node }, bytes)
  })
  counter(
    'weft_controller_encodings_total',
    'Changes that were encoded: once for each and for each contract version in use, however many agents there are',
    [],
    (set) => set.inc(transmitter()?.encoded ?? 0),
  )
}
