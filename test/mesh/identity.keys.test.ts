// Where keys are: in the memory of the agent whose node runs the account, and nowhere else. Each agent is a process of its
// own here, and its memory is searched for every key of the mesh (hazards 7.40; CVE-2024-28860).

import { type ChildProcess, spawn } from 'node:child_process'
import { type KeyObject, X509Certificate } from 'node:crypto'
import { request } from 'node:http'
import { connect as connectTls } from 'node:tls'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import { sniLabel } from '../../agent/identity/sni.ts'
import { formatIdentity } from '../../controller/contract/identity.ts'
import { eachCluster } from '../support/kubecluster.ts'
import { filesWithKeys, findKeys, processFilesWithKeys } from '../support/memory.ts'
import { until } from '../support/until.ts'
import { startWholeMesh, type WholeMesh } from '../support/wholemesh.ts'

const main = fileURLToPath(new URL('../../agent/main.ts', import.meta.url))

eachCluster(
  'mesh: keys',
  (cluster) => {
    let mesh: WholeMesh
    const processes: ChildProcess[] = []
    afterEach(async () => {
      for (const child of processes.splice(0)) {
        child.kill('SIGKILL')
        await until(() => child.signalCode !== null)
      }
      await mesh.stop()
    })

    /** Starts an agent. @returns its process id and address */
    async function startAgent(node: string): Promise<{ pid: number; address: string }> {
      const args = mesh.agentArguments(node)
      const child = spawn(process.execPath, [main, ...args, '--log-level', 'error'], {
        env: { PATH: process.env['PATH'] ?? '' },
        stdio: ['ignore', 'ignore', 'inherit'],
      })
      processes.push(child)
      const address = args[args.indexOf('--address') + 1]!
      const ready = () => fetch(`http://${address}:15020/readyz`).then(({ ok }) => ok)
      await until(() => ready().catch(() => false), `the agent of ${node}`, 20_000)
      return { pid: child.pid!, address }
    }

    const call = (from: string) =>
      new Promise<number>((resolve, reject) => {
        request({ ...mesh.entry, localAddress: from, headers: { host: 'web-mesh.shop' }, agent: false }, (response) => {
          response.resume().on('end', () => resolve(response.statusCode!))
        })
          .on('error', reject)
          .end()
      })

    /** A public key of P-256 as an uncompressed point. */
    const pointOf = (key: KeyObject) => key.export({ type: 'spki', format: 'der' }).subarray(-65).toString('hex')

    /** The public key that an agent proves to have for an account, as a point in hex; null if it has none. */
    function publicKey(address: string, account: string): Promise<string | null> {
      const servername = sniLabel(formatIdentity('cluster.local', account))
      return new Promise((resolve) => {
        const socket = connectTls({ host: address, port: 15008, servername, rejectUnauthorized: false })
        socket.on('secureConnect', () => {
          resolve(pointOf(socket.getPeerX509Certificate()!.publicKey))
          socket.destroy()
        })
        socket.on('error', () => resolve(null))
      })
    }

    it('are in the memory of the agent of their node alone, and in no file and no environment', async () => {
      mesh = await startWholeMesh(cluster)
      const client = mesh.addCaller('node1', 'shop/client')
      const late = mesh.addCaller('node1', 'elsewhere/late')
      const one = await startAgent('node1')
      const two = await startAgent('node2')
      expect(await Promise.all([call(client), call(late)])).to.deep.equal([200, 200])

      const agents = mesh.agentAccount
      const accounts = [agents, 'shop/client', 'elsewhere/late', 'shop/web']
      const [ofOne, ofTwo] = await Promise.all(
        [one, two].map(async ({ address }) => {
          const keys = await Promise.all(accounts.map((account) => publicKey(address, account)))
          return new Map(accounts.flatMap((account, at) => (keys[at] === null ? [] : [[account, keys[at]!]])))
        }),
      )
      expect([...ofOne!.keys()]).to.deep.equal([agents, 'shop/client', 'elsewhere/late'])
      expect([...ofTwo!.keys()]).to.deep.equal([agents, 'shop/web'])

      const root = pointOf(new X509Certificate(mesh.authority.trust()).publicKey)
      const all = new Set([...ofOne!.values(), ...ofTwo!.values(), root])
      // No two are the same: not even the agents' own.
      expect(all.size).to.equal(6)
      const inOne = findKeys(one.pid, all)
      const inTwo = findKeys(two.pid, all)
      expect(new Set(inOne.keys())).to.deep.equal(new Set(ofOne!.values()))
      expect(new Set(inTwo.keys())).to.deep.equal(new Set(ofTwo!.values()))

      const scalars = [...inOne.values(), ...inTwo.values()]
      expect(filesWithKeys(mesh.folder, scalars)).to.deep.equal([])
      for (const { pid } of [one, two]) expect(processFilesWithKeys(pid, scalars)).to.deep.equal([])
    }).timeout(90_000)
  },
  { crds: false },
)
