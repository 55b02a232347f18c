// The callers of a soak: each scenario does one thing to the agent and says what came of it. What is checked is that an
// answer is the caller's own, whole, and that a failure shows as one.

import { createHash, randomBytes, randomUUID } from 'node:crypto'
import { Agent, type IncomingMessage, request } from 'node:http'
import { connect, type Socket } from 'node:net'
import { pattern } from './endpoints.ts'

export interface Aim {
  readonly address: string
  readonly port: number
  readonly host: string
}

/** `refused`: the mesh said so itself; `broken`: by a reset; `ok`: as it should be; `wrong` must never be. */
export type Outcome = 'ok' | 'refused' | 'broken' | { wrong: string }

interface Answer {
  status: number
  reason: string
  body: Buffer
}

const keepAlive = new Agent({ keepAlive: true, maxSockets: 200 })

/** Sends a request and reads the answer to its end; null: the connection was broken. */
function ask(
  aim: Aim,
  path: string,
  options: { method?: string; body?: Buffer; isChunked?: boolean; isFresh?: boolean; readSlowly?: boolean } = {},
): Promise<Answer | null> {
  const { method = 'GET', body, isChunked = false, isFresh = false, readSlowly = false } = options
  return new Promise((resolve) => {
    const headers: Record<string, string | number> = { host: aim.host }
    if (body !== undefined && !isChunked) headers['content-length'] = body.length
    const made = request({
      ...{ host: aim.address, port: aim.port, path, method, headers },
      ...(isFresh ? { agent: false } : { agent: keepAlive }),
    })
    made.on('error', () => resolve(null))
    made.on('response', (response: IncomingMessage) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => {
        chunks.push(chunk)
        if (!readSlowly) return
        response.pause()
        setTimeout(() => response.resume(), 2)
      })
      response.on('error', () => resolve(null))
      response.on('close', () => {
        const reason = String(response.headers['x-weft-error'] ?? '')
        resolve(response.complete ? { status: response.statusCode ?? 0, reason, body: Buffer.concat(chunks) } : null)
      })
    })
    if (body === undefined) made.end()
    else {
      for (let at = 0; at < body.length; at += 16_384) made.write(body.subarray(at, at + 16_384))
      made.end()
    }
  })
}

function judge(answer: Answer | null, status: number, body: Buffer | string): Outcome {
  if (answer === null) return 'broken'
  if (answer.reason !== '') return 'refused'
  const expected = Buffer.from(body)
  if (answer.status === status && answer.body.equals(expected)) return 'ok'
  return {
    wrong: `${answer.status} with ${answer.body.length} bytes ${JSON.stringify(answer.body.toString('latin1', 0, 80))}`,
  }
}

/** Whatever the endpoint did, the caller must learn that it failed. */
function judgeFailure(answer: Answer | null): Outcome {
  if (answer === null) return 'broken'
  return answer.reason !== '' ? 'refused' : { wrong: `a failure looked like ${answer.status}` }
}

/** Opens a connection, does something, and resolves with what was received when it is over. */
function raw(aim: Aim, use: (socket: Socket) => void): Promise<string> {
  return new Promise((resolve) => {
    let received = ''
    const socket = connect({ host: aim.address, port: aim.port, allowHalfOpen: true })
    socket.on('data', (chunk: Buffer) => {
      received += chunk.toString('latin1')
    })
    socket.on('connect', () => use(socket))
    socket.on('error', () => {})
    socket.on('end', () => socket.destroy())
    socket.on('close', () => resolve(received))
    socket.setTimeout(30_000, () => socket.destroy())
  })
}

const later = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))
const get = (aim: Aim, path: string) => `GET ${path} HTTP/1.1\r\nHost: ${aim.host}\r\n\r\n`

async function pipelined(aim: Aim): Promise<Outcome> {
  const ids = [randomUUID(), randomUUID(), randomUUID()]
  const received = await raw(aim, (socket) => {
    socket.write(ids.map((id) => get(aim, `/echo/${id}`)).join(''))
    socket.end()
  })
  const seen = received.match(/[0-9a-f]{8}-[0-9a-f-]{27}(?=HTTP|$)/g) ?? []
  if (received.includes('x-weft-error')) return 'refused'
  return seen.join() === ids.join() ? 'ok' : { wrong: `pipelined ${JSON.stringify(received.slice(0, 300))}` }
}

async function upgraded(aim: Aim): Promise<Outcome> {
  const secret = randomUUID()
  const received = await raw(aim, (socket) => {
    socket.write(`GET /chat HTTP/1.1\r\nHost: ${aim.host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n`)
    socket.once('data', (chunk: Buffer) => {
      if (!chunk.toString('latin1').startsWith('HTTP/1.1 101')) return
      socket.write(secret)
      socket.on('data', () => socket.end())
    })
  })
  if (received.includes('x-weft-error')) return 'refused'
  if (!received.startsWith('HTTP/1.1 101')) return received === '' ? 'broken' : { wrong: received.slice(0, 100) }
  return received.endsWith(`\r\n\r\n${secret}`) ? 'ok' : 'broken'
}

async function malformed(aim: Aim): Promise<Outcome> {
  const nonsense = [
    `GET / HTTP/1.1\r\nHost: ${aim.host}\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n`,
    `POST / HTTP/1.1\r\nHost: ${aim.host}\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n`,
    'GET / HTTP/9.9\r\n\r\n',
    randomBytes(200).toString('latin1'),
  ]
  const text = nonsense[Math.floor(Math.random() * nonsense.length)]!
  const received = await raw(aim, (socket) => {
    socket.write(text, 'latin1')
    socket.end()
  })
  return /^HTTP\/1\.1 200/.test(received) ? { wrong: `${JSON.stringify(text)} was accepted` } : 'refused'
}

/** Goes away at some point of a request or its response. */
async function leaving(aim: Aim): Promise<Outcome> {
  const text = `POST /digest/x HTTP/1.1\r\nHost: ${aim.host}\r\nContent-Length: 1000\r\n\r\n${'x'.repeat(1000)}`
  const at = Math.floor(Math.random() * text.length)
  await raw(aim, (socket) => {
    socket.write(text.slice(0, at))
    setTimeout(() => (at % 2 === 0 ? socket.resetAndDestroy() : socket.destroy()), Math.random() * 10)
  })
  return 'broken'
}

async function leavingAmid(aim: Aim): Promise<Outcome> {
  await raw(aim, (socket) => {
    socket.write(get(aim, '/large/1'))
    socket.once('data', () => setTimeout(() => socket.resetAndDestroy(), Math.random() * 5))
  })
  return 'broken'
}

const digest = (body: Buffer, id: string) => `${id} ${createHash('sha1').update(body).digest('hex')}`
const whole = pattern(1 << 20)

/** The scenarios by weight. */
export const scenarios: readonly { name: string; weight: number; run(aim: Aim): Promise<Outcome> }[] = [
  scenario('get', 30, async (aim) => {
    const id = randomUUID()
    return judge(await ask(aim, `/echo/${id}`), 200, id)
  }),
  scenario('chunks', 6, async (aim) => {
    const id = randomUUID()
    return judge(await ask(aim, `/chunks/${id}`), 200, id)
  }),
  scenario('post', 8, async (aim) => {
    const [id, body] = [randomUUID(), randomBytes(Math.floor(Math.random() ** 3 * 200_000))]
    return judge(await ask(aim, `/digest/${id}`, { method: 'POST', body }), 200, digest(body, id))
  }),
  scenario('post in chunks', 5, async (aim) => {
    const [id, body] = [randomUUID(), randomBytes(1 + Math.floor(Math.random() * 50_000))]
    return judge(await ask(aim, `/digest/${id}`, { method: 'PUT', body, isChunked: true }), 200, digest(body, id))
  }),
  scenario('large', 2, async (aim) => judge(await ask(aim, '/large/1'), 200, whole)),
  scenario('large, read slowly', 1, async (aim) => judge(await ask(aim, '/large/1', { readSlowly: true }), 200, whole)),
  scenario('slow', 4, async (aim) => judge(await ask(aim, '/slow/x'), 200, 'x')),
  scenario('fresh connection', 8, async (aim) => {
    const id = randomUUID()
    return judge(await ask(aim, `/echo/${id}`, { isFresh: true }), 200, id)
  }),
  scenario('pipelined', 4, pipelined),
  scenario('upgrade', 3, upgraded),
  scenario('malformed', 4, malformed),
  scenario('caller leaves', 4, leaving),
  scenario('caller leaves amid a response', 2, leavingAmid),
  scenario('status 500', 2, async (aim) => judge(await ask(aim, '/status/500'), 500, 'failed')),
  scenario('endpoint resets', 1, async (aim) => judgeFailure(await ask(aim, '/reset/x'))),
  scenario('endpoint cuts short', 1, async (aim) => judgeFailure(await ask(aim, '/cut/x'))),
  scenario('endpoint talks nonsense', 1, async (aim) => judgeFailure(await ask(aim, '/garbage/x'))),
  scenario('endpoint hangs', 1, async (aim) => judgeFailure(await ask(aim, '/hang/x'))),
  scenario('endpoint answers twice', 1, async (aim) => {
    const id = randomUUID()
    return judge(await ask(aim, `/twice/${id}`), 200, id)
  }),
  scenario('endpoint answers early', 1, async (aim) => {
    const body = randomBytes(300_000)
    const answer = await ask(aim, '/early/x', { method: 'POST', body })
    return answer === null ? 'broken' : judge(answer, 413, 'x')
  }),
  scenario('unknown host', 1, async (aim) => judgeFailure(await ask({ ...aim, host: 'nobody.example' }, '/echo/x'))),
]

function scenario(name: string, weight: number, run: (aim: Aim) => Promise<Outcome>) {
  return { name, weight, run }
}

/** Chooses a scenario by weight. */
export function choose(random: number): (typeof scenarios)[number] {
  const total = scenarios.reduce((sum, { weight }) => sum + weight, 0)
  let left = random * total
  for (const each of scenarios) {
    left -= each.weight
    if (left < 0) return each
  }
  return scenarios[0]!
}

/** Closes what is kept alive. */
export async function closeCallers(): Promise<void> {
  keepAlive.destroy()
  await later(100)
}
