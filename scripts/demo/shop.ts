// The demo's one program: each service of the shop is this, started with another name. It serves until SIGTERM, then goes
// on for a while, because callers learn of its end later than it does, and ends when the last response is out.

import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { parseArgs } from 'node:util'
import { createCaller } from './call.ts'
import { type Answer, handlers, isService, type Setting } from './services.ts'

const usage =
  'usage: shop.ts productpage|details|reviews|ratings [--version v1] [--port 9080] [--details URL] [--reviews URL] [--ratings URL]'

/** How long new requests are still answered after SIGTERM: endpoint changes take a second or two to reach all callers. */
const lingerMs = Number(process.env.SHOP_LINGER_MS ?? 3000)
/** After it, responses under way get this long. */
const drainMs = 10_000

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    version: { type: 'string', default: 'v1' },
    port: { type: 'string', default: '9080' },
    address: { type: 'string', default: '0.0.0.0' },
    details: { type: 'string', default: 'http://details-mesh:9080' },
    reviews: { type: 'string', default: 'http://reviews-mesh:9080' },
    ratings: { type: 'string', default: 'http://ratings-mesh:9080' },
  },
})
const [service = ''] = positionals
if (!isService(service)) {
  console.error(usage)
  process.exit(64)
}
const setting: Setting = {
  version: values.version,
  pod: process.env.POD ?? process.env.HOSTNAME ?? service,
  node: process.env.NODE ?? '',
  details: values.details,
  reviews: values.reviews,
  ratings: values.ratings,
  caller: createCaller(),
}
let isEnding = false

const server = http.createServer({ keepAliveTimeout: 65_000, noDelay: true }, (request, response) => {
  request.resume()
  const [pathname = '/'] = (request.url ?? '/').split('?')
  const respond = (answer: Answer) => {
    response.writeHead(answer.status, {
      'content-type': answer.type,
      'content-length': Buffer.byteLength(answer.body),
      'x-shop-service': `${service}-${setting.version}`,
      'x-shop-pod': setting.pod,
      ...(isEnding ? { connection: 'close' } : {}),
    })
    response.end(request.method === 'HEAD' ? undefined : answer.body)
  }
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    return respond({ status: 405, type: 'text/plain; charset=utf-8', body: 'the shop only answers GET\n' })
  }
  handlers[service](pathname, request.headers, setting).then(respond, (error: unknown) => {
    console.error(`${service}: ${pathname}: ${(error as Error).stack}`)
    respond({ status: 500, type: 'text/plain; charset=utf-8', body: 'internal error\n' })
  })
})

server.listen(Number(values.port), values.address, () => {
  const { address, port } = server.address() as AddressInfo
  console.log(`${service} ${setting.version} listens on ${address}:${port}`)
})
server.on('error', (error) => {
  console.error(`${service}: ${error.message}`)
  process.exit(1)
})

function end(): void {
  if (isEnding) return
  isEnding = true
  setTimeout(() => {
    server.close(() => process.exit(0))
    server.closeIdleConnections()
    setTimeout(() => process.exit(1), drainMs).unref()
  }, lingerMs)
}
process.on('SIGTERM', end)
process.on('SIGINT', end)
