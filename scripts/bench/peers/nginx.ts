// nginx as a peer: one worker, keep-alive on both sides, no temporary files on disk.

import { chmodSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pairFiles } from '../pair.ts'
import { freePort } from '../ports.ts'
import { firstLine, launch, listening, which } from '../process.ts'
import { type Contender, hostOf, type Running, type Setting } from '../setting.ts'

export const nginx: Contender = {
  name: 'nginx',
  find() {
    const command = which('nginx')
    return command === null ? { missing: 'nginx is not installed' } : { version: firstLine([command, '-v']) }
  },
  async start(setting) {
    const port = await freePort()
    return runNginx(setting, 'proxy', setting.cores, proxyServers(setting, port), port)
  },
  async startPair(setting) {
    const { ca, certificate, key } = pairFiles(setting.directory)
    const [near, far] = [await freePort(), await freePort()]
    const keep = 'keepalive 2048; keepalive_requests 100000000;'
    const pass =
      'proxy_http_version 1.1; proxy_max_temp_file_size 0; proxy_set_header Connection ""; proxy_set_header Host $host;'
    const { origin } = setting
    const server = `  ssl_protocols TLSv1.3;
  upstream b { server ${origin.address}:${origin.port}; ${keep} }
  server { listen 127.0.0.1:${far} ssl backlog=4096; ssl_certificate ${certificate}; ssl_certificate_key ${key};
    ssl_client_certificate ${ca}; ssl_verify_client on; location / { proxy_pass http://b; ${pass} } }`
    const client = `  upstream b { server 127.0.0.1:${far}; ${keep} }
  server { listen 127.0.0.1:${near} backlog=4096; location / { proxy_pass https://b; ${pass}
    proxy_ssl_protocols TLSv1.3; proxy_ssl_certificate ${certificate}; proxy_ssl_certificate_key ${key};
    proxy_ssl_trusted_certificate ${ca}; proxy_ssl_verify on; proxy_ssl_name localhost;
    proxy_set_header X-Forwarded-For $remote_addr; } }`
    const back = await runNginx(setting, 'far', setting.cores, server, far)
    const front = await runNginx(setting, 'near', setting.cores, client, near)
    return {
      ...front,
      children: [...front.children, ...back.children],
      stop: async () => {
        await Promise.all([front.stop(), back.stop()])
      },
    }
  },
}

/**
 * Runs nginx with the given `http` content in the foreground.
 * @param name prefix of its files in the setting's folder
 */
export async function runNginx(
  setting: Pick<Setting, 'directory' | 'threads'>,
  name: string,
  cores: string,
  servers: string,
  port: number,
  address = '127.0.0.1',
): Promise<Running> {
  const path = (suffix: string) => join(setting.directory, `nginx-${name}${suffix}`)
  // Where nginx is started by root, its workers are another user, who must get at the temporary folders.
  chmodSync(setting.directory, 0o711)
  writeFileSync(
    path('.conf'),
    `worker_processes ${setting.threads}; daemon off; pid ${path('.pid')}; error_log ${path('.err')};
events { worker_connections 16384; }
http {
  client_body_temp_path ${path('-body')}; proxy_temp_path ${path('-proxy')}; fastcgi_temp_path ${path('-fastcgi')};
  uwsgi_temp_path ${path('-uwsgi')}; scgi_temp_path ${path('-scgi')};
  keepalive_requests 100000000; keepalive_timeout 600; access_log off;
${servers}
}
`,
  )
  const child = launch(`nginx (${name})`, [which('nginx')!, '-e', path('.err'), '-c', path('.conf')], { cores })
  await listening(child, address, port)
  return { address, port, children: [child], stop: () => child.stop() }
}

function proxyServers(setting: Setting, port: number): string {
  const { origin } = setting
  const log = setting.observed
    ? `  log_format one escape=json '{"time":"$time_iso8601","caller":"$remote_addr","method":"$request_method","host":"$host","path":"$uri","status":$status,"bytes":$bytes_sent,"ms":$request_time,"upstream":"$upstream_addr","id":"$request_id"}';
  access_log ${join(setting.directory, 'nginx-access.log')} one buffer=64k flush=1s;\n`
    : ''
  const trace = setting.observed ? ' proxy_set_header X-Request-Id $request_id;' : ''
  const blocks = Array.from(
    { length: setting.services },
    (
      _,
      index,
    ) => `  upstream b${index} { server ${origin.address}:${origin.port}; keepalive 2048; keepalive_requests 100000000; }
  server { listen 127.0.0.1:${port}${index === 0 ? ' backlog=4096' : ''}; server_name ${hostOf(index)}; location / {
    proxy_pass http://b${index}; proxy_http_version 1.1; proxy_max_temp_file_size 0; proxy_set_header Connection "";
    proxy_set_header Host $host; proxy_set_header X-Forwarded-For $remote_addr;${trace} } }`,
  )
  return `${log}  server_names_hash_bucket_size 128;\n${blocks.join('\n')}`
}
