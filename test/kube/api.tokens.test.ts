// ServiceAccount tokens: issued for a pod and an audience, and refused as soon as one of both is not what it was.

import { expect } from 'chai'
import { type Body, backends, withApi } from '../support/api.ts'

for (const backend of backends) {
  describe(`API tokens (${backend.name})`, () => {
    const api = withApi(backend)
    let root = ''
    let pod: Body

    beforeEach(async () => {
      root = `/api/v1/namespaces/${await api().namespace()}`
      const account = { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'agent' } }
      await api().request('POST', `${root}/serviceaccounts`, account)
      const spec = { serviceAccountName: 'agent', nodeName: 'node1', containers: [{ name: 'c', image: 'i' }] }
      const { body } = await api().request('POST', `${root}/pods`, {
        apiVersion: 'v1',
        kind: 'Pod',
        metadata: { name: 'p' },
        spec,
      })
      pod = body
    })

    const request = (spec: Body) =>
      api().request('POST', `${root}/serviceaccounts/agent/token`, {
        apiVersion: 'authentication.k8s.io/v1',
        kind: 'TokenRequest',
        spec,
      })

    async function review(token: string, audiences?: string[]): Promise<Body> {
      const { status, body } = await api().request('POST', '/apis/authentication.k8s.io/v1/tokenreviews', {
        apiVersion: 'authentication.k8s.io/v1',
        kind: 'TokenReview',
        spec: { token, ...(audiences && { audiences }) },
      })
      expect(status).to.equal(201)
      return body.status
    }

    const bound = () => ({ kind: 'Pod', apiVersion: 'v1', name: 'p', uid: pod.metadata.uid })

    it('says whose token it is, and for which pod on which node', async () => {
      const { status, body } = await request({ audiences: ['weft'], expirationSeconds: 900, boundObjectRef: bound() })
      expect(status, body.message).to.equal(201)
      const lifetime = Date.parse(body.status.expirationTimestamp) - Date.now()
      expect(lifetime).to.be.within(880_000, 901_000)
      const answer = await review(body.status.token, ['weft', 'other'])
      expect(answer).to.deep.include({ authenticated: true, audiences: ['weft'] })
      const namespace = root.split('/').at(-1)
      expect(answer.user.username).to.equal(`system:serviceaccount:${namespace}:agent`)
      expect(answer.user.groups).to.include(`system:serviceaccounts:${namespace}`)
      expect(answer.user.extra).to.deep.include({
        'authentication.kubernetes.io/pod-name': ['p'],
        'authentication.kubernetes.io/pod-uid': [pod.metadata.uid],
        'authentication.kubernetes.io/node-name': ['node1'],
      })
    })

    it('takes null for nothing, as some clients write it', async () => {
      const { status, body } = await request({ audiences: ['weft'], boundObjectRef: null, expirationSeconds: null })
      expect(status, body.message).to.equal(201)
      expect((await review(body.status.token, ['weft'])).authenticated).to.equal(true)
    })

    it('holds for its audience alone', async () => {
      const { body } = await request({ audiences: ['weft'], boundObjectRef: bound() })
      expect((await review(body.status.token, ['other'])).authenticated ?? false).to.equal(false)
      expect((await review(body.status.token)).authenticated ?? false, 'not for the API itself').to.equal(false)
    })

    it('ends with the pod', async () => {
      const { body } = await request({ audiences: ['weft'], boundObjectRef: bound() })
      const options = { kind: 'DeleteOptions', apiVersion: 'v1', gracePeriodSeconds: 0 }
      await api().request('DELETE', `${root}/pods/p`, options)
      let isValid = true
      // A real API server remembers a good token for ten seconds.
      while (isValid && backend.name === 'local') isValid = (await review(body.status.token, ['weft'])).authenticated
      if (backend.name === 'local') expect(isValid).to.equal(false)
    })

    it('refuses what is no token', async () => {
      const { body } = await request({ audiences: ['weft'], boundObjectRef: bound() })
      const [head, claims, signature] = body.status.token.split('.')
      const forged = JSON.parse(Buffer.from(claims, 'base64url').toString())
      forged.sub = 'system:serviceaccount:kube-system:default'
      const changed = Buffer.from(JSON.stringify(forged)).toString('base64url')
      for (const token of ['nonsense', `${head}.${changed}.${signature}`, `${head}.${claims}.`]) {
        const answer = await review(token, ['weft'])
        expect(answer.authenticated ?? false, token).to.equal(false)
      }
    })

    it('binds to a pod of this account, as it is now', async () => {
      const stale = await request({ audiences: ['weft'], boundObjectRef: { ...bound(), uid: 'earlier' } })
      expect(stale.status).to.equal(409)
      const missing = await request({ audiences: ['weft'], boundObjectRef: { ...bound(), name: 'none' } })
      expect(missing.status).to.equal(404)
      const short = await request({ audiences: ['weft'], expirationSeconds: 10 })
      expect(short.status).to.equal(422)
      const account = { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'other' } }
      await api().request('POST', `${root}/serviceaccounts`, account)
      const foreign = await api().request('POST', `${root}/serviceaccounts/other/token`, {
        apiVersion: 'authentication.k8s.io/v1',
        kind: 'TokenRequest',
        spec: { boundObjectRef: bound() },
      })
      expect(foreign.status).to.equal(400)
    })

    it('lets in who has a token for it, and nobody without one', async () => {
      const { body } = await request({ boundObjectRef: bound() })
      const as = (authorization: string) => api().request('GET', '/api/v1/namespaces', undefined, { authorization })
      expect((await as('')).status).to.be.oneOf([401, 403])
      expect((await as('Bearer wrong')).status).to.equal(401)
      // The real one knows who it is, and that it may not.
      expect((await as(`Bearer ${body.status.token}`)).status).to.equal(backend.name === 'local' ? 200 : 403)
    })

    it('says what one may do, and who one is', async () => {
      const { body } = await api().request('POST', '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews', {
        apiVersion: 'authorization.k8s.io/v1',
        kind: 'SelfSubjectAccessReview',
        spec: { resourceAttributes: { verb: 'get', resource: 'pods' } },
      })
      expect(body.status.allowed).to.equal(true)
      const who = await api().request('POST', '/apis/authentication.k8s.io/v1/selfsubjectreviews', {
        apiVersion: 'authentication.k8s.io/v1',
        kind: 'SelfSubjectReview',
      })
      expect(who.body.status.userInfo.username).to.equal('admin')
      expect((await api().request('GET', '/apis/authentication.k8s.io/v1/tokenreviews')).status).to.equal(405)
    })
  })
}
