// Names as programs look them up: curl and glibc's resolver with search lists, in the caller's namespace and in another, and
// dig against the agents' DNS. Needs an image with these programs, which WEFT_TOOLS_IMAGE names.

import { expect } from 'chai'
import { until } from '../support/until.ts'
import { openFleet } from './fleet.ts'
import { apply, type Body, kubectl, list, run } from './kubectl.ts'
import { openNames, openShop, withMesh } from './mesh.ts'

const tools = process.env['WEFT_TOOLS_IMAGE'] ?? ''
const suite = tools === '' ? describe.skip : describe

suite('names on a cluster (WEFT_TOOLS_IMAGE names an image with curl, dig and getent)', function () {
  this.timeout(60_000)
  const mesh = withMesh()
  let meshAddress = ''
  let dnsAddress = ''

  before(async function () {
    this.timeout(240_000)
    await Promise.all([openShop(mesh()), openFleet()])
    await openNames()
    const toolsIn = (namespace: string): Body => ({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { namespace, name: 'tools' },
      spec: {
        containers: [
          {
            name: 'main',
            image: tools,
            imagePullPolicy: 'IfNotPresent',
            command: ['sleep', '1000000'],
            securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } },
          },
        ],
        // The shop's namespace admits nothing less.
        securityContext: { runAsNonRoot: true, runAsUser: 65_532, seccompProfile: { type: 'RuntimeDefault' } },
        terminationGracePeriodSeconds: 0,
      },
    })
    await apply(toolsIn('shop'), toolsIn('visitors'))
    for (const namespace of ['shop', 'visitors']) {
      await kubectl(['wait', 'pod/tools', '-n', namespace, '--for=condition=Ready', '--timeout=60s'])
    }
    const services = await list('weft-system', 'services')
    const of = (name: string) => services.find(({ metadata }) => metadata.name === name)?.spec.clusterIP ?? ''
    meshAddress = of('weft')
    dnsAddress = of('weft-dns')
    const isKnown = async () => (await tell('shop', 'getent', 'ahostsv4', 'reviews.shop.mesh.internal')) !== ''
    await until(isKnown, 'the mesh domain in the cluster DNS', 20_000)
  })

  after(async () => {
    for (const namespace of ['shop', 'visitors']) {
      await kubectl(['delete', 'pod', 'tools', '-n', namespace, '--ignore-not-found', '--wait=false'])
    }
  })

  /** What a program in a pod prints. */
  const tell = async (namespace: string, ...command: string[]) =>
    (await run('kubectl', ['exec', '-n', namespace, 'tools', '--', ...command])).out.trim()

  const domain = 'reviews.shop.mesh.internal'
  const full = ['reviews-mesh.shop', 'reviews-mesh.shop.svc', 'reviews-mesh.shop.svc.cluster.local', domain]
  const names: Record<string, string[]> = { shop: ['reviews-mesh', ...full], visitors: [...full, `${domain}.`] }

  for (const [namespace, all] of Object.entries(names)) {
    it(`lead curl to the mesh from ${namespace}`, async () => {
      for (const name of all) {
        const url = `http://${name}:9080/reviews/0`
        const said = await tell(
          namespace,
          'curl',
          '-sS',
          '-m',
          '5',
          '-o',
          '/dev/null',
          '-w',
          '%{http_code} %{remote_ip}',
          url,
        )
        expect(said, name).to.equal(`200 ${meshAddress}`)
      }
    })

    it(`are known to glibc's resolver in ${namespace}`, async () => {
      for (const name of all) {
        const found = (await tell(namespace, 'getent', 'ahostsv4', name))
          .split('\n')
          .map((line) => line.split(/\s+/)[0])
        expect([...new Set(found)], name).to.deep.equal([meshAddress])
      }
    })
  }

  describe("in the agents' DNS, by dig", () => {
    const dig = (...query: string[]) => tell('visitors', 'dig', `@${dnsAddress}`, '+tries=2', '+time=2', ...query)
    const short = (...query: string[]) => dig('+short', ...query)

    it('have an address for 5 s, by UDP and TCP, with EDNS and without', async () => {
      for (const way of [['+notcp'], ['+tcp'], ['+noedns'], ['+bufsize=512']]) {
        const said = await dig('+noall', '+answer', ...way, domain, 'A')
        expect(said.split(/\s+/), way.join()).to.deep.equal([`${domain}.`, '5', 'IN', 'A', meshAddress])
      }
    })

    it('have no other data: NOERROR with the SOA of the zone', async () => {
      const said = await dig('+noall', '+comments', '+authority', domain, 'TXT')
      expect(said)
        .to.match(/status: NOERROR/)
        .and.to.match(/mesh\.internal\.\s+\d+\s+IN\s+SOA/)
    })

    it('that are none are NXDOMAIN with the SOA of the zone', async () => {
      for (const name of ['nobody.shop.mesh.internal', 'nobody.nowhere.mesh.internal']) {
        const said = await dig('+noall', '+comments', '+authority', name, 'A')
        expect(said, name)
          .to.match(/status: NXDOMAIN/)
          .and.to.match(/mesh\.internal\.\s+\d+\s+IN\s+SOA/)
      }
    })

    it('tell their ports by SRV, and an address its name by PTR', async () => {
      expect(await short('_http._tcp.reviews.shop.mesh.internal', 'SRV')).to.equal(`0 100 9080 ${domain}.`)
      const services = await list('weft-system', 'services')
      const own = services.find(({ metadata }) => metadata.labels?.['weft.dev/service'] === 'lines')
      expect(await short('-x', own.spec.clusterIP)).to.equal('lines.fleet.mesh.internal.')
    })

    it('that lie elsewhere are refused', async () => {
      expect(await dig('+noall', '+comments', 'example.com', 'A')).to.match(/status: REFUSED/)
    })
  })
})
