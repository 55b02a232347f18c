// HAProxy as a peer: keep-alive and connection reuse on both sides.

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { freePort } from '../ports.ts'
import { connectionLimit, firstLine, launch, listening, which } from '../process.ts'
import { type Contender, hostOf, type Setting } from '../setting.ts'

export const haproxy: Contender = {
  name: 'haproxy',
  find() {
    const command = which('haproxy')
    return command === null ? { missing: 'haproxy is not installed' } : { version: firstLine([command, '-v']) }
  },
  async start(setting) {
    const port = await freePort()
    const file = join(setting.directory, 'haproxy.cfg')
    writeFileSync(file, configuration(setting, port))
    const child = launch('haproxy', [which('haproxy')!, '-db', '-f', file], {
      cores: setting.cores,
      output: join(setting.directory, 'haproxy-access.log'),
    })
    await listening(child, '127.0.0.1', port)
    return { address: '127.0.0.1', port, children: [child], stop: () => child.stop() }
  },
}

function configuration(setting: Setting, port: number): string {
  const { origin } = setting
  const names = Array.from({ length: setting.services }, (_, index) => index)
  const observe = setting.observed
    ? `  log stdout format raw local0
  log-format '{"time":"%t","caller":"%ci","method":"%HM","host":"%[var(txn.host)]","path":"%HP","status":%ST,"bytes":%B,"ms":%Ta,"upstream":"%si:%sp","id":"%ID"}'
  unique-id-format %{+X}o%ci:%cp_%fi:%fp_%Ts_%rt:%pid
  unique-id-header X-Request-Id
  http-request set-var(txn.host) req.hdr(host)
`
    : ''
  return `global
  nbthread ${setting.threads}
  maxconn ${connectionLimit()}
defaults
  mode http
  timeout client 600s
  timeout server 600s
  timeout connect 5s
  http-reuse always
frontend f
  bind 127.0.0.1:${port} backlog 4096
  maxconn ${connectionLimit()}
  option forwardfor
${observe}${names.map((index) => `  use_backend b${index} if { req.hdr(host) -m str ${hostOf(index)} }\n`).join('')}  default_backend b0
${names.map((index) => `backend b${index}\n  server s1 ${origin.address}:${origin.port}\n`).join('')}`
}
