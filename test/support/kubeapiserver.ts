// A real kube-apiserver with its etcd, for the suites that compare the local API with it. No controllers run: nothing is
// scheduled, collected or finalised. Ends with the test process.

import { type ChildProcess, spawn } from 'node:child_process'
import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Agent, request } from 'undici'
import { stringify } from 'yaml'
import { selfSigned } from '../../scripts/local/api/certificate.ts'

const startTimeoutMs = 50_000

export interface KubeApiserver {
  /** The administrator's, as YAML. */
  kubeconfig: string
  /** Where its files are, until the process ends. */
  folder: string
}

/**
 * Starts etcd and kube-apiserver from a folder.
 * @throws Error with the end of the log of the one that did not come up
 */
export async function startKubeApiserver(assets: string): Promise<KubeApiserver> {
  const folder = mkdtempSync(join(tmpdir(), 'weft-kube-'))
  const children: ChildProcess[] = []
  process.once('exit', () => {
    for (const child of children) child.kill('SIGKILL')
    rmSync(folder, { recursive: true, force: true, maxRetries: 3 })
  })
  const run = (name: string, flags: Record<string, string>) => {
    const list = Object.entries(flags).map(([flag, value]) => `--${flag}=${value}`)
    const log = join(folder, `${name}.log`)
    const child = spawn('/bin/sh', ['-c', 'exec "$0" "$@" >"$LOG" 2>&1', join(assets, name), ...list], {
      cwd: folder,
      env: { ...process.env, LOG: log },
      stdio: 'ignore',
    })
    // Neither keeps the test process alive when its tests are done.
    child.unref()
    children.push(child)
    return { child, log }
  }

  const [etcdPort, peerPort, port] = await freePorts(3)
  const etcdUrl = `http://127.0.0.1:${etcdPort}`
  run('etcd', {
    'data-dir': join(folder, 'etcd'),
    'listen-client-urls': etcdUrl,
    'advertise-client-urls': etcdUrl,
    'listen-peer-urls': `http://127.0.0.1:${peerPort}`,
    'unsafe-no-fsync': 'true',
  })

  const { cert, key } = selfSigned('127.0.0.1')
  const token = randomBytes(16).toString('hex')
  const files = {
    'tls.crt': cert,
    'tls.key': key,
    'tokens.csv': `${token},admin,admin,"system:masters"\n`,
    'accounts.key': generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({
      type: 'pkcs1',
      format: 'pem',
    }),
  }
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text, { mode: 0o600 })
  const { child, log } = run('kube-apiserver', {
    'etcd-servers': etcdUrl,
    'bind-address': '127.0.0.1',
    'advertise-address': '10.88.0.1',
    'secure-port': String(port),
    'tls-cert-file': join(folder, 'tls.crt'),
    'tls-private-key-file': join(folder, 'tls.key'),
    'token-auth-file': join(folder, 'tokens.csv'),
    'authorization-mode': 'RBAC',
    // Dual-stack; whatever does not ask for both has IPv4.
    'service-cluster-ip-range': '10.96.0.0/16,fd00:96::/112',
    'service-account-issuer': 'https://kubernetes.default.svc',
    'service-account-key-file': join(folder, 'accounts.key'),
    'service-account-signing-key-file': join(folder, 'accounts.key'),
    // It would refuse pods until a controller, which does not run here, has made each namespace's account.
    'disable-admission-plugins': 'ServiceAccount',
  })

  const url = `https://127.0.0.1:${port}`
  const dispatcher = new Agent({ connect: { ca: cert } })
  const deadline = Date.now() + startTimeoutMs
  while (!(await isReady(`${url}/readyz`, token, dispatcher))) {
    if (child.exitCode !== null || Date.now() > deadline) {
      throw new Error(`kube-apiserver did not come up:\n${readFileSync(log, 'utf8').slice(-2000)}`)
    }
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  await dispatcher.close()
  const kubeconfig = stringify({
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [
      { name: 'real', cluster: { server: url, 'certificate-authority-data': Buffer.from(cert).toString('base64') } },
    ],
    users: [{ name: 'real', user: { token } }],
    contexts: [{ name: 'real', context: { cluster: 'real', user: 'real' } }],
    'current-context': 'real',
  })
  return { kubeconfig, folder }
}

async function isReady(url: string, token: string, dispatcher: Agent): Promise<boolean> {
  try {
    const { statusCode, body } = await request(url, { dispatcher, headers: { authorization: `Bearer ${token}` } })
    await body.dump()
    return statusCode === 200
  } catch {
    return false
  }
}

async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer())
  const listening = servers.map(
    (server) => new Promise<number>((resolve) => server.listen(0, '127.0.0.1', () => resolve(portOf(server)))),
  )
  const ports = await Promise.all(listening)
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))))
  return ports
}

function portOf(server: ReturnType<typeof createServer>): number {
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('not listening')
  return address.port
}
