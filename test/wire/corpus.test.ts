// Every stream of the corpus through the agent: it is refused, or the other side sees exactly the messages that the
// corpus says, as Node's own parser reads them.

import { expect } from 'chai'
import { readByOracle } from '../../scripts/fuzz/oracle.ts'
import { type Bed, get, ok, reasonOf, startBed } from '../support/rawmesh.ts'
import { until } from '../support/until.ts'
import { requestCases } from './corpus/requests.ts'
import { responseCases } from './corpus/responses.ts'

/** Failing endpoints must not open breakers here. */
const flags = ['--breaker-failures', '10000', '--breaker-minimum', '10000', '--retries', '0']

describe('the corpus of requests', () => {
  let bed: Bed
  before(async () => {
    bed = await startBed({ flags })
    bed.server.answerAll(ok('fine'))
  })
  after(() => bed.stop())

  for (const { name, stream, contents, isRefused } of requestCases) {
    it(name, async () => {
      const { server } = bed
      const before = server.connections.map((connection) => connection.received.length)
      const caller = await bed.caller()
      caller.send(stream)
      caller.end()
      const { rest } = await caller.gone()

      const answers = rest.match(/HTTP\/1\.1 \d{3} [^\r]*\r\n/g) ?? []
      const fine = answers.filter((line) => line.startsWith('HTTP/1.1 200'))
      expect(fine.length, `answers in ${JSON.stringify(rest)}`).to.equal(contents.length)
      expect(answers.length - fine.length, `refusals in ${JSON.stringify(rest)}`).to.equal(isRefused ? 1 : 0)
      if (isRefused) expect(reasonOf(rest)).not.to.equal('none')

      await until(() => [...bed.agent.thread.outbound.all()].length === 0, 'the end of the connection')
      const messages = server.connections.flatMap((connection, index) => {
        const fresh = connection.received.slice(before[index] ?? 0)
        const seen = readByOracle(Buffer.from(fresh, 'latin1'), null)
        expect(seen.error, JSON.stringify(fresh)).to.equal('')
        return seen.messages.filter(({ end }) => end !== -1)
      })
      expect(messages.map(({ content }) => content)).to.have.members([...contents])
      expect(messages.length).to.equal(contents.length)
    })
  }
})

describe('the corpus of responses', () => {
  let bed: Bed
  before(async () => {
    bed = await startBed({ flags })
  })
  after(() => bed.stop())

  for (const { name, stream, content } of responseCases) {
    it(name, async () => {
      bed.server.each((connection) => {
        const serve = async () => {
          await connection.readMessage()
          connection.send(stream)
          connection.end()
        }
        void serve().catch(() => {})
      })
      const caller = await bed.caller()
      caller.send(get('/', 'Connection: close\r\n'))
      const { how, rest } = await caller.gone()
      await until(() => caller.hasEnded || caller.isClosed, 'the end of the connection')
      const isRefused = reasonOf(rest) !== 'none'
      if (content === null) {
        expect(isRefused || how === 'reset', `refused or reset: ${how} after ${JSON.stringify(rest)}`).to.equal(true)
        return
      }
      expect(isRefused, rest).to.equal(false)
      expect(how).to.equal('end')
      const seen = readByOracle(Buffer.from(rest, 'latin1'), 'GET')
      expect(seen.error).to.equal('')
      const last = seen.messages.at(-1)
      expect(last?.content).to.equal(content)
      expect(seen.messages.slice(0, -1).every(({ first }) => first.startsWith('1'))).to.equal(true)
      expect(rest).not.to.include('poison')
    })
  }
})
