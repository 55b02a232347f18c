// Steady requests of one pod through the real agent, to see whether anything disturbs them.

import { Agent, request } from 'undici'

export interface Traffic {
  /** What came of them since the last call. */
  take(): { failed: number; sent: number }
  stop(): Promise<void>
}

/**
 * Sends requests, so many a second, to an agent's entry port.
 * @param from address of the calling pod
 */
export function startTraffic(from: string, agent: string, entryPort: number, host: string, perSecond: number): Traffic {
  const dispatcher = new Agent({ connect: { localAddress: from }, connections: 8 })
  let failed = 0
  let sent = 0
  const send = async () => {
    sent++
    const { statusCode, body } = await request(`http://${agent}:${entryPort}/`, { dispatcher, headers: { host } })
    await body.dump()
    if (statusCode !== 200) failed++
  }
  const timer = setInterval(() => {
    send().catch(() => {
      failed++
    })
  }, 1000 / perSecond)
  return {
    take() {
      const taken = { failed, sent }
      failed = 0
      sent = 0
      return taken
    },
    async stop() {
      clearInterval(timer)
      await dispatcher.destroy()
    },
  }
}
