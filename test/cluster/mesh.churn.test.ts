// Addresses that pass from pod to pod: nobody is ever taken for the pod that had the address before. Each pod of the churn
// says who it is; the server compares that with whom the mesh says it is.

import { expect } from 'chai'
import { bed, describeOnBed } from './bed.ts'
import { callers, openFleet, runs } from './fleet.ts'
import { apply, type Body, kubectl, list, pods } from './kubectl.ts'
import { figure, withMesh } from './mesh.ts'
import { evaluate } from './pod.ts'

const accounts = ['ada', 'bea', 'cem', 'dov']
/** Pods at a time: as many as there are addresses to have. */
const width = 8
const tools = process.env['WEFT_TOOLS_IMAGE'] ?? ''
const churns = Number(process.env['WEFT_CHURNS'] ?? 200)

/** Calls at once, over and over for a little while, and leaves without a word. */
const program = `
  import http from 'node:http'
  const headers = { host: 'echo-mesh.fleet:8080', 'x-mark': process.env.MARK }
  const ask = () => new Promise((resolve) => {
    const request = http.get(process.env.URL, { agent: false, headers, timeout: 5000 }, (response) => {
      response.resume().on('end', () => resolve(response.statusCode))
    })
    request.on('timeout', () => request.destroy())
    request.on('error', () => resolve(0))
  })
  for (let i = 0; i < 5; i++) await ask()`

describeOnBed('addresses that pass from pod to pod', function () {
  this.timeout(600_000)
  const mesh = withMesh()
  let node = ''

  before(async function () {
    this.timeout(240_000)
    await openFleet()
    node = mesh().there
    await apply(
      ...accounts.map((name) => ({
        apiVersion: 'v1',
        kind: 'ServiceAccount',
        metadata: { namespace: 'visitors', name },
      })),
    )
    const taken = (await list('', 'pods', '-A')).filter(({ spec, status }) => spec.nodeName === node && status.podIP)
    const highest = Math.max(...taken.map(({ status }) => Number(status.podIP.split('.')[3])))
    const prefix = taken[0].status.podIP.replace(/\.\d+$/, '')
    await bed('addresses', node, `${prefix}.${highest + 1}`, `${prefix}.${highest + width}`)
  })

  after(async function () {
    this.timeout(120_000)
    await bed('addresses', node)
    await kubectl([
      'delete',
      'pods',
      '-n',
      'visitors',
      '-l',
      'app=churn',
      '--grace-period=0',
      '--force',
      '--wait=false',
    ])
  })

  const addressOfMesh = () =>
    kubectl(['get', 'service', 'weft', '-n', 'weft-system', '-o', 'jsonpath={.spec.clusterIP}'])

  function churnPod(at: number, address: string): object {
    const name = accounts[at % accounts.length]!
    const spec = runs(program, name)
    spec.containers[0].env = [
      { name: 'MARK', value: `churn-${at}-${name}` },
      { name: 'URL', value: `http://${address}:8080/` },
    ]
    if (tools !== '') {
      // Lighter than Node, so that addresses pass on more quickly.
      const url = `http://${address}:8080/`
      const headers = ['-H', 'host: echo-mesh.fleet:8080', '-H', `x-mark: churn-${at}-${name}`]
      spec.containers[0].image = tools
      spec.containers[0].command = ['curl', '-s', '-m', '5', '-o', '/dev/null', ...headers, url, url, url, url, url]
    }
    spec.nodeSelector = { 'kubernetes.io/hostname': node }
    spec.restartPolicy = 'Never'
    spec.terminationGracePeriodSeconds = 0
    const metadata = { namespace: 'visitors', name: `churn-${at}`, labels: { app: 'churn' } }
    return { apiVersion: 'v1', kind: 'Pod', metadata, spec }
  }

  /** Adds who has which address. */
  function noteOwners(owners: Map<string, Set<string>>, all: Body[]): void {
    for (const { status, spec } of all) {
      if (!status.podIP) continue
      owners.set(status.podIP, (owners.get(status.podIP) ?? new Set()).add(spec.serviceAccountName))
    }
  }

  /** Lets pods come and go, as many at a time as there are addresses. @returns which accounts had each address */
  async function churn(): Promise<Map<string, Set<string>>> {
    const address = await addressOfMesh()
    const owners = new Map<string, Set<string>>()
    const alive = new Set<string>()
    let next = 0
    while (next < churns || alive.size > 0) {
      const all: Body[] = await list('visitors', 'pods', '-l', 'app=churn')
      noteOwners(owners, all)
      const over = all.filter(({ status }) => status.phase === 'Succeeded' || status.phase === 'Failed')
      const names: string[] = over.map(({ metadata }) => metadata.name).filter((name) => alive.delete(name))
      if (names.length > 0) await kubectl(['delete', 'pods', '-n', 'visitors', ...names, '--wait=false'])
      const fresh: object[] = []
      while (next < churns && alive.size < width) {
        alive.add(`churn-${next}`)
        fresh.push(churnPod(next++, address))
      }
      if (fresh.length > 0) await apply(...fresh)
      else await new Promise((resolve) => setTimeout(resolve, 300))
    }
    return owners
  }

  /** The identities that came with each mark, over all servers. */
  async function identities(): Promise<Map<string, string[]>> {
    const [place] = await callers()
    const all = new Map<string, string[]>()
    for (const { status } of await pods('fleet', 'fleet=echo')) {
      const script = `console.log(await (await fetch('http://${status.podIP}:8081/')).text())`
      const seen = JSON.parse(await evaluate(place!, script)) as Record<string, { identities: string[] }>
      for (const [mark, { identities }] of Object.entries(seen)) {
        if (mark.startsWith('churn-')) all.set(mark, [...(all.get(mark) ?? []), ...identities])
      }
    }
    return all
  }

  it(`never carry the identity of the pod before (${churns} churns)`, async () => {
    const begin = Date.now()
    const owners = await churn()
    const tookMs = Date.now() - begin
    const marks = await identities()
    const isOther = (mark: string, identity: string) =>
      identity !== '' && !identity.includes(`/ns/visitors/sa/${mark.split('-')[2]}`)
    const wrong = [...marks].filter(([mark, all]) => all.some((identity) => isOther(mark, identity)))
    const nobody = [...marks.values()].filter((all) => all.includes(''))
    const passed = [...owners.values()].filter(({ size }) => size > 1)
    figure('pods, addresses, of them with several accounts', `${churns}, ${owners.size}, ${passed.length}`)
    figure('time', `${Math.round(tookMs / 1000)} s`)
    figure('pods that called, of them once or more without identity', `${marks.size}, ${nobody.length}`)
    expect(wrong, 'marks with an identity of somebody else').to.deep.equal([])
    expect(marks.size, 'pods that were heard').to.be.above(churns * 0.9)
    expect(passed.length, 'addresses that went from account to account').to.be.above(width / 2)
  })
})
