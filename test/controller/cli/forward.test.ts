// Connections to pods through the API server: pages over HTTP, questions over DNS, and what goes wrong on the way.

import { createServer, type Server } from 'node:http'
import { type AddressInfo, createServer as createTcpServer } from 'node:net'
import { expect } from 'chai'
import dns from 'dns-packet'
import { askPod } from '../../../controller/cli/dns/ask.ts'
import { readPage } from '../../../controller/cli/forward.ts'
import { type PortForward, startPortForward } from '../../support/portforward.ts'

describe('connections to pods', () => {
  let pages: Server
  let names: ReturnType<typeof createTcpServer>
  let forward: PortForward
  let isMute = false
  const long = 'x'.repeat(200_000)

  before(async () => {
    pages = createServer((request, response) => {
      if (request.headers.host !== 'localhost') response.writeHead(403).end('who are you\n')
      else if (request.url === '/long') response.writeHead(200, { 'content-type': 'text/plain' }).end(long)
      else response.writeHead(404).end('not found\n')
    })
    names = createTcpServer((socket) => {
      socket.once('data', (bytes: Buffer) => {
        if (isMute) {
          socket.end()
          return
        }
        const { id, questions } = dns.streamDecode(bytes) as dns.DecodedPacket
        const [{ name, type }] = questions as [dns.Question]
        const answers: dns.Answer[] =
          type === 'A' && name === 'web.shop.mesh.internal' ? [{ name, type, data: '10.96.0.9' }] : []
        const flags = answers.length === 0 ? 3 : 0
        const answer = dns.streamEncode({ type: 'response', id: id!, flags, questions: questions!, answers })
        // In two pieces, as TCP may.
        socket.write(answer.subarray(0, 5))
        setImmediate(() => socket.write(answer.subarray(5)))
      })
    })
    for (const server of [pages, names]) await new Promise<void>((done) => server.listen(0, '127.0.0.1', () => done()))
    const portOf = (server: { address(): unknown }) => (server.address() as AddressInfo).port
    forward = await startPortForward((pod, port) => {
      if (pod === 'gone') return 'pod gone does not exist'
      return port === 53 ? portOf(names) : portOf(pages)
    })
  })
  after(async () => {
    await forward.close()
    for (const server of [pages, names]) await new Promise((done) => server.close(done))
  })

  const pod = (name: string, port = 15000) => ({ namespace: 'weft-system', pod: name, port })
  const failure = async (run: Promise<unknown>) => {
    try {
      await run
      return 'nothing'
    } catch (error) {
      return (error as Error).message
    }
  }

  it('read a page, with the credentials of the kubeconfig', async () => {
    expect(await readPage(forward.cluster, pod('agent-1'), '/long')).to.equal(long)
    expect(forward.asked[0]?.path).to.equal('/api/v1/namespaces/weft-system/pods/agent-1/portforward?ports=15000')
    expect(forward.asked[0]?.headers).to.include({ authorization: 'Bearer secret', 'impersonate-group': 'a, b' })
  })

  it('say which page of which pod was refused', async () => {
    expect(await failure(readPage(forward.cluster, pod('agent-1'), '/x'))).to.equal(
      '/x of pod weft-system/agent-1: 404 not found',
    )
  })

  it('say what the kubelet says', async () => {
    expect(await failure(readPage(forward.cluster, pod('gone'), '/long'))).to.equal(
      'port 15000 of pod weft-system/gone: pod gone does not exist',
    )
  })

  it('fail where the API server refuses or is away', async () => {
    const closed = await startPortForward(() => 0)
    await closed.close()
    expect(await failure(readPage(closed.cluster, pod('agent-1'), '/long'))).to.include(
      'refuses a connection to pod weft-system/agent-1, or is away',
    )
  })

  it('ask a name', async () => {
    const target = { namespace: 'kube-system', name: 'coredns-1' }
    expect(await askPod(forward.cluster, target, 'web.shop.mesh.internal', 'A')).to.deep.equal({
      rcode: 'NOERROR',
      addresses: ['10.96.0.9'],
      hasAnswer: true,
    })
    expect(await askPod(forward.cluster, target, 'mesh.internal', 'SOA')).to.deep.include({
      rcode: 'NXDOMAIN',
      hasAnswer: false,
    })
    isMute = true
    expect(await askPod(forward.cluster, target, 'mesh.internal', 'SOA')).to.deep.include({
      rcode: 'nothing',
      hasAnswer: false,
    })
    expect(forward.asked.at(-1)?.path).to.equal('/api/v1/namespaces/kube-system/pods/coredns-1/portforward?ports=53')
  })
})
