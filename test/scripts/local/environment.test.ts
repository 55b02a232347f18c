// What a container's process finds: variables, paths, options.

import { expect } from 'chai'
import { expand, processOf, root, type Surroundings } from '../../../scripts/local/environment.ts'
import type { Container, Pod } from '../../../scripts/local/objects.ts'

const around: Surroundings = {
  address: '127.44.1.9',
  hostAddress: '127.44.1.1',
  dnsServer: '127.96.0.10:10053',
  volumes: new Map([['state', '/real/state']]),
  home: '/real/home',
  kubeconfig: undefined,
  value: (_kind, name, key) => (name === 'settings' && key === 'mode' ? 'fast' : undefined),
  compileCache: '/real/cache',
}

function processFor(container: Partial<Container>) {
  const pod = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'p', namespace: 'shop', uid: 'u', resourceVersion: '1', labels: { app: 'x' } },
    spec: { nodeName: 'node1', serviceAccountName: 'reader', containers: [] },
  } as Pod
  return processOf(pod, { name: 'c', ...container }, around)
}

describe('local environment', () => {
  it('expands $(NAME) from variables stated before, and leaves unknown and escaped ones', () => {
    expect(expand('a-$(A)-$(B)-$$(A)', { A: '1' })).to.equal('a-1-$(B)-$(A)')
  })

  it('fills variables from fields of the pod, config maps and the CPU request', () => {
    const { env } = processFor({
      command: ['node'],
      resources: { requests: { cpu: '1200m' } },
      env: [
        { name: 'NODE', valueFrom: { fieldRef: { fieldPath: 'spec.nodeName' } } },
        { name: 'IP', valueFrom: { fieldRef: { fieldPath: 'status.podIP' } } },
        { name: 'HOST', valueFrom: { fieldRef: { fieldPath: 'status.hostIP' } } },
        { name: 'ACCOUNT', valueFrom: { fieldRef: { fieldPath: 'spec.serviceAccountName' } } },
        { name: 'APP', valueFrom: { fieldRef: { fieldPath: "metadata.labels['app']" } } },
        { name: 'MODE', valueFrom: { configMapKeyRef: { name: 'settings', key: 'mode' } } },
        { name: 'CORES', valueFrom: { resourceFieldRef: { resource: 'requests.cpu', divisor: '1' } } },
        { name: 'URL', value: 'http://$(IP):80' },
      ],
    })
    expect(env).to.include({
      NODE: 'node1',
      IP: '127.44.1.9',
      HOST: '127.44.1.1',
      ACCOUNT: 'reader',
      APP: 'x',
      MODE: 'fast',
      CORES: '2',
      URL: 'http://127.44.1.9:80',
    })
  })

  it('replaces paths of the image and of mounts by real ones, at the start of a path only', () => {
    const { argv, cwd } = processFor({
      command: ['node', '/app/agent/main.ts'],
      args: ['--state-dir=/var/lib/weft', '/var/lib/weft/x', '/var/lib/weftier', 'a:/app:/var/lib/weft', '/opt/app'],
      workingDir: '/app',
      volumeMounts: [{ name: 'state', mountPath: '/var/lib/weft/' }],
    })
    expect(cwd).to.equal(root)
    expect(argv).to.deep.equal([
      process.execPath,
      `${root}/agent/main.ts`,
      '--state-dir=/real/state',
      '/real/state/x',
      '/var/lib/weftier',
      `a:${root}:/real/state`,
      '/opt/app',
    ])
  })

  it('keeps NODE_OPTIONS of the container beside the preload', () => {
    const { env } = processFor({ command: ['node'], env: [{ name: 'NODE_OPTIONS', value: '--no-warnings' }] })
    expect(env.NODE_OPTIONS).to.match(/^--import=file:.*names\.ts --no-warnings$/)
  })

  it('names what it cannot provide', () => {
    expect(() => processFor({})).to.throw('container c states no command')
    const missing = { configMapKeyRef: { name: 'settings', key: 'gone' } }
    expect(() => processFor({ command: ['x'], env: [{ name: 'A', valueFrom: missing }] })).to.throw('no key gone')
    const unknown = { fieldRef: { fieldPath: 'spec.colour' } }
    expect(() => processFor({ command: ['x'], env: [{ name: 'A', valueFrom: unknown }] })).to.throw('spec.colour')
    expect(() => processFor({ command: ['x'], volumeMounts: [{ name: 'v', mountPath: '/v' }] })).to.throw('volume v')
  })
})
