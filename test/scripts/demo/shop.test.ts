// The demo's services, each as the process that it is in a pod.

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import http from 'node:http'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { Script } from 'node:vm'
import { expect } from 'chai'
import { root } from '../../../scripts/local/environment.ts'

interface Service {
  url: string
  child: ChildProcess
  exited: Promise<number | null>
}

describe('demo shop', () => {
  const services: Service[] = []

  afterEach(async () => {
    for (const { child, exited } of services.splice(0)) {
      child.kill('SIGKILL')
      await exited
    }
  })

  async function start(...args: string[]): Promise<Service> {
    const own = ['--port', '0', '--address', '127.0.0.1']
    const env = { ...process.env, POD: `${args[0]}-pod`, SHOP_LINGER_MS: '300' }
    const child = spawn(process.execPath, [join(root, 'scripts/demo/shop.ts'), ...args, ...own], { env })
    const exited = once(child, 'exit').then(([code]) => code as number | null)
    const [line] = await once(child.stdout!, 'data')
    const service = { url: `http://${/127\.0\.0\.1:\d+/.exec(String(line))![0]}`, child, exited }
    services.push(service)
    return service
  }

  async function get(url: string, headers: Record<string, string> = {}, agent?: http.Agent) {
    const request = http.get(url, { headers, ...(agent ? { agent } : {}) })
    const [response] = (await once(request, 'response')) as [http.IncomingMessage]
    return { status: response.statusCode, headers: response.headers, body: await text(response) }
  }

  it('shows the book, and reviews in the three versions', async () => {
    const details = await start('details')
    const ratings = await start('ratings')
    const stars = { v1: undefined, v2: { stars: 5, colour: 'black' }, v3: { stars: 5, colour: 'red' } }
    for (const [version, rating] of Object.entries(stars)) {
      const reviews = await start('reviews', '--version', version, '--ratings', ratings.url)
      const page = await start('productpage', '--details', details.url, '--reviews', reviews.url)
      const html = await get(`${page.url}/`)
      expect(html).to.include({ status: 200 })
      expect(html.headers['content-type']).to.equal('text/html; charset=utf-8')
      expect(html.body)
        .to.include('The Loom and the Lighthouse')
        .and.not.match(/(src|href)="http/)
      const [, script = ''] = /<script>(.*?)<\/script>/s.exec(html.body) ?? []
      expect(() => new Script(script), 'the script of the page').to.not.throw()
      const { value } = JSON.parse((await get(`${page.url}/api/reviews`)).body)
      expect(value).to.include({ version, pod: 'reviews-pod' })
      expect(value.reviews[0].rating).to.deep.equal(rating)
    }
  })

  it('says what is missing, with the reason of the mesh', async () => {
    const refusing = http.createServer((_, response) => {
      response.writeHead(503, { 'x-weft-error': 'no_endpoint<b>' }).end()
    })
    refusing.listen(0, '127.0.0.1')
    await once(refusing, 'listening')
    const { port } = refusing.address() as { port: number }
    const url = `http://127.0.0.1:${port}`
    const page = await start('productpage', '--details', url, '--reviews', url)
    const html = await get(`${page.url}/`)
    expect(html.status).to.equal(200)
    expect(html.body).to.include('no_endpoint').and.not.include('<b>"')
    expect(html.body.match(/no_endpoint<b>/g), 'nothing from outside is markup').to.equal(null)
    expect(JSON.parse((await get(`${page.url}/api/reviews`)).body)).to.deep.equal({ error: 'no_endpoint<b>' })
    refusing.close()
  })

  it('passes trace headers on and nothing else', async () => {
    let seen: http.IncomingHttpHeaders = {}
    const ratings = http.createServer((request, response) => {
      seen = request.headers
      response.end('{}')
    })
    ratings.listen(0, '127.0.0.1')
    await once(ratings, 'listening')
    const { port } = ratings.address() as { port: number }
    const reviews = await start('reviews', '--version', 'v2', '--ratings', `http://127.0.0.1:${port}`)
    const trace = { traceparent: '00-1-2-01', 'x-request-id': 'r1' }
    await get(`${reviews.url}/reviews/0`, { ...trace, cookie: 'secret', 'x-other': '1' })
    expect(seen).to.include(trace)
    expect(seen).to.not.have.any.keys('cookie', 'x-other')
    ratings.close()
  })

  it('answers for a while after SIGTERM, closes kept connections, and ends by itself', async () => {
    const details = await start('details')
    const agent = new http.Agent({ keepAlive: true })
    expect((await get(`${details.url}/details/0`, {}, agent)).headers.connection).to.equal('keep-alive')
    details.child.kill('SIGTERM')
    let connection: string | undefined
    while (connection !== 'close') {
      const response = await get(`${details.url}/details/0`, {}, agent)
      expect(response.status).to.equal(200)
      connection = response.headers.connection
    }
    expect((await get(`${details.url}/details/0`)).status, 'a new connection').to.equal(200)
    expect(await details.exited).to.equal(0)
    agent.destroy()
  })

  it('refuses unknown services with its usage', async () => {
    const child = spawn(process.execPath, [join(root, 'scripts/demo/shop.ts'), 'stock'])
    const [[code], complaint] = await Promise.all([once(child, 'exit'), text(child.stderr)])
    expect(code).to.equal(64)
    expect(complaint).to.match(/^usage: shop\.ts/)
  })
})
