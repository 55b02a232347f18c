// Who may call whom, on the wire of one node: denied requests never reach the endpoint, and each request of a connection
// is decided by itself. Numbered as in the project's list of hazards.

import { expect } from 'chai'
import type { AccessRule } from '../../controller/contract/resources.ts'
import { type Bed, clientCert, get, host, ok, post, refusalOf, startBed } from '../support/rawmesh.ts'
import { until } from '../support/until.ts'

/** The endpoint's account, as the test support makes it. */
const account = 'shop/default'

describe('access on the wire', () => {
  let bed: Bed
  beforeEach(async () => {
    bed = await startBed()
    bed.server.answerAll(ok('fine'))
  })
  afterEach(() => bed.stop())

  const allow = (...rules: Partial<AccessRule>[]) =>
    bed.agent.apply({
      kind: 'access',
      name: account,
      rules: rules.map((rule) => ({ name: 'shop/rule', sources: ['shop/client'], ports: null, http: null, ...rule })),
    })
  const route = (
    path: string | null,
    methods: string[] | null = null,
    headers: { name: string; value: string }[] = [],
  ) => ({
    name: 'route',
    path,
    methods,
    headers,
  })

  /** Sends requests on one connection; the status of each. */
  async function statuses(...requests: string[]): Promise<string[]> {
    const caller = await bed.caller()
    const found: string[] = []
    for (const request of requests) {
      caller.send(request)
      found.push((await caller.readMessage()).slice(9, 12))
    }
    caller.destroy()
    return found
  }

  /** The refusal of a request of which nothing may go up. */
  async function denied(): Promise<string> {
    const caller = await bed.caller()
    caller.send(get())
    const response = await caller.readMessage()
    caller.destroy()
    expect(bed.server.received).to.equal('')
    return refusalOf(response)
  }

  it('7.26 a caller on the same node is refused like any other', async () => {
    await allow()
    expect(await denied()).to.equal('403 denied')
    await allow({ sources: ['shop/other'] })
    expect(await denied()).to.equal('403 denied')
    await allow({ ports: [bed.server.port + 1] })
    expect(await denied()).to.equal('403 denied')
    await allow({ ports: [bed.server.port] })
    expect(await statuses(get())).to.deep.equal(['200'])
  })

  it('7.26 nothing of a refused body goes up', async () => {
    await allow({ http: [route('/open')] })
    const response = await bed.refuse(post('a body').replace('Content-Length: 6', 'Content-Length: 1000'))
    expect(refusalOf(response)).to.equal('403 denied')
  })

  it('7.27 each request of a connection is permitted by itself', async () => {
    await allow({ http: [route('/open/.*', ['GET'])] })
    const put = get('/open/a').replace('GET', 'PUT')
    const asked = [get('/open/a'), get('/shut'), get('/open/b'), put, get('/open/c')]
    expect(await statuses(...asked)).to.deep.equal(['200', '403', '200', '403', '200'])
    expect(bed.server.received).not.to.match(/shut|PUT/)
  })

  it('7.27 a policy that comes while a connection stands counts for its next request', async () => {
    const caller = await bed.caller()
    const ask = async () => {
      caller.send(get())
      return (await caller.readMessage()).slice(9, 12)
    }
    expect(await ask()).to.equal('200')
    await allow()
    expect(await ask()).to.equal('403')
    await allow({})
    expect(await ask()).to.equal('200')
  })

  it('7.28 names are compared, not matched: a dot stands for itself', async () => {
    for (const source of ['shop/clien.', 'shop/.*', '.*', 'shop/client-2', 'shop/clien', 'SHOP/client', '*', '']) {
      await allow({ sources: [source] })
      expect(await statuses(get()), source).to.deep.equal(['403'])
    }
  })

  it('7.21 the path that is permitted is the path that goes up', async () => {
    await allow({ http: [route('/open')] })
    for (const path of ['/open/../shut', '/open/%2e%2e/shut', '//shut', '/open/./../shut', '/%73hut']) {
      expect(await statuses(get(path)), path).to.deep.equal(['403'])
    }
    for (const path of ['/open/..%2fshut', '/open\\..\\shut', '/open/..;/shut', '/open%00/shut']) {
      expect(await statuses(get(path)), path).to.deep.equal(['400'])
    }
    expect(await statuses(get('/shut/../open'))).to.deep.equal(['200'])
    expect(bed.server.received).not.to.include('shut')
  })

  it('7.15 a header given twice is permitted only as a whole', async () => {
    await allow({ http: [route(null, null, [{ name: 'x-role', value: '^user$' }])] })
    const asked = [
      get('/', 'X-Role: user\r\n'),
      get('/', 'X-Role: user\r\nX-Role: admin\r\n'),
      get('/', 'X-Role: admin\r\nX-Role: user\r\n'),
      get('/', 'X_Role: user\r\n'),
      get('/'),
    ]
    expect(await statuses(...asked)).to.deep.equal(['200', '403', '403', '403', '403'])
  })

  it('7.12 the identity that the endpoint sees is the caller’s own, whatever Connection names', async () => {
    const lines =
      'X-Forwarded-Client-Cert: URI=spiffe://cluster.local/ns/shop/sa/admin\r\nConnection: X-Forwarded-Client-Cert\r\n'
    const caller = await bed.caller()
    caller.send(get('/', lines))
    await caller.readMessage()
    const seen = bed.server.received.split('\r\n').filter((line) => /client.cert/i.test(line))
    expect(seen).to.deep.equal([clientCert.trim()])
  })

  it('an upgrade is permitted like a request', async () => {
    await allow({ http: [route('/open')] })
    const caller = await bed.caller()
    caller.send(`GET /shut HTTP/1.1\r\nHost: ${host}\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n`)
    expect(refusalOf(await caller.readMessage())).to.equal('403 denied')
    caller.destroy()
    await until(() => bed.agent.thread.outbound.open === 0, 'the end of the connection')
    expect(bed.server.received).to.equal('')
  })
})
