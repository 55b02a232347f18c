// Who gets a certificate for what: the table of the review, end to end through `sign`.

import { X509Certificate } from 'node:crypto'
import { expect } from 'chai'
import { makeKey } from '../../../agent/identity/key.ts'
import { makeRequest } from '../../../agent/identity/request.ts'
import { Refusal, type TokenFacts, tokenReviewer } from '../../../controller/authority/review.ts'
import { certificateIdentity } from '../../../controller/contract/certificate.ts'
import { ApiError } from '../../../controller/errors.ts'
import { agentPod, testAuthority, testPod, testPods, testTokens } from '../../support/authority.ts'

const csr = () => makeRequest(makeKey()).toString('base64')
const id = (account: string, trustDomain = 'cluster.local') => {
  const [namespace, name] = account.split('/')
  return `spiffe://${trustDomain}/ns/${namespace}/sa/${name}`
}

describe('authority: review', () => {
  const pods = testPods(
    agentPod('n1'),
    agentPod('n2'),
    agentPod('ended', { phase: 'Succeeded' }),
    agentPod('', { uid: 'unscheduled' }),
    testPod('weft-system/imposter', 'n1', 'weft-agent'),
    testPod('shop/reviews-1', 'n1', 'reviews'),
    testPod('shop/ratings-1', 'n2', 'ratings'),
    testPod('shop/both-1', 'n1', 'both'),
    testPod('shop/both-2', 'n2', 'both'),
    testPod('shop/pending-1', 'n1', 'pending', { phase: 'Pending' }),
    testPod('shop/done-1', 'n1', 'done', { phase: 'Succeeded' }),
    testPod('shop/failed-1', 'n1', 'failed', { phase: 'Failed' }),
    testPod('shop/host-1', 'n1', 'host', { hostNetwork: true }),
    testPod('shop/nameless-1', 'n1', ''),
    testPod('shop/waiting-1', '', 'waiting', { phase: 'Pending' }),
  )
  const tokens = testTokens(pods)
  const good: TokenFacts = {
    username: 'system:serviceaccount:weft-system:weft-agent',
    audiences: ['weft-authority'],
    podName: 'weft-agent-n1',
    podUid: 'uid-weft-agent-n1',
  }
  tokens.add('other-uid', { ...good, podUid: 'uid-of-the-one-before' })
  tokens.add('other-audience', { ...good, audiences: ['https://kubernetes.default.svc'] })
  tokens.add('no-audience', { ...good, audiences: [] })
  tokens.add('other-account', { ...good, username: 'system:serviceaccount:weft-system:default' })
  tokens.add('other-namespace', { ...good, username: 'system:serviceaccount:shop:weft-agent' })
  tokens.add('person', { ...good, username: 'admin' })
  tokens.add('unbound', { ...good, podName: '', podUid: '' })
  tokens.add('gone', { ...good, podName: 'weft-agent-n9' })
  tokens.add('imposter', { ...good, podName: 'imposter', podUid: 'uid-imposter' })
  tokens.add('ended', { ...good, podName: 'weft-agent-ended', podUid: 'uid-weft-agent-ended' })
  tokens.add('unscheduled', { ...good, podName: 'weft-agent-', podUid: 'unscheduled' })

  const ask = async (token: string | undefined, identity: string, request = csr()) => {
    const { authority } = await testAuthority({ pods, review: tokens.review })
    return authority.sign(token === undefined ? undefined : `Bearer ${token}`, { identity, csr: request })
  }

  for (const [what, token, account] of [
    ['an account of its node', 'agent.n1', 'shop/reviews'],
    ['an account of several nodes', 'agent.n1', 'shop/both'],
    ['an account whose only pod is pending', 'agent.n1', 'shop/pending'],
    ['the default account', 'agent.n1', 'shop/default'],
    ['its own account', 'agent.n1', 'weft-system/weft-agent'],
    ['an account of the other node, for its agent', 'agent.n2', 'shop/ratings'],
  ] as const) {
    it(`grants ${what}`, async () => {
      const answer = await ask(token, id(account))
      const leaf = new X509Certificate(answer.chain[0]!)
      expect(certificateIdentity(leaf.raw, 'cluster.local').account).to.equal(account)
      expect(leaf.verify(new X509Certificate(answer.bundle).publicKey)).to.equal(true)
      expect(answer.expires).to.equal(leaf.validToDate.getTime())
    })
  }

  for (const [what, token, identity, reason] of [
    ['an account of another node', 'agent.n1', id('shop/ratings'), 'not_on_node'],
    ['an account without pods', 'agent.n1', id('shop/nobody'), 'not_on_node'],
    ['an account whose only pod has succeeded', 'agent.n1', id('shop/done'), 'not_on_node'],
    ['an account whose only pod has failed', 'agent.n1', id('shop/failed'), 'not_on_node'],
    ["an account that only uses the host's network", 'agent.n1', id('shop/host'), 'not_on_node'],
    ['an account whose pod is on no node yet', 'agent.n1', id('shop/waiting'), 'not_on_node'],
    ['the same name in another namespace', 'agent.n1', id('other/reviews'), 'not_on_node'],
    ['another trust domain', 'agent.n1', id('shop/reviews', 'evil.example'), 'wrong_trust_domain'],
    ['a trust domain of another case', 'agent.n1', id('shop/reviews', 'Cluster.local'), 'invalid_identity'],
    ['a name that is none', 'agent.n1', 'shop/reviews', 'invalid_identity'],
    ['a name with more behind it', 'agent.n1', `${id('shop/reviews')}/x`, 'invalid_identity'],
    ['no token', undefined, id('shop/reviews'), 'no_token'],
    ['an empty token', '', id('shop/reviews'), 'no_token'],
    ['a token that is not valid', 'nonsense', id('shop/reviews'), 'token_invalid'],
    ['a token for another audience', 'other-audience', id('shop/reviews'), 'wrong_audience'],
    ['a token for no audience', 'no-audience', id('shop/reviews'), 'wrong_audience'],
    ["the UID of the pod's predecessor", 'other-uid', id('shop/reviews'), 'wrong_uid'],
    ['another account', 'other-account', id('shop/reviews'), 'not_an_agent'],
    ["an agent's account of another namespace", 'other-namespace', id('shop/reviews'), 'not_an_agent'],
    ['a person', 'person', id('shop/reviews'), 'not_an_agent'],
    ['a token bound to no pod', 'unbound', id('shop/reviews'), 'not_a_pod'],
    ['a pod that is gone', 'gone', id('shop/reviews'), 'unknown_pod'],
    ["a pod of the agents' account that is not an agent", 'imposter', id('shop/reviews'), 'not_an_agent'],
    ['an agent that has ended', 'ended', id('shop/reviews'), 'pod_ended'],
    ['an agent on no node', 'unscheduled', id('shop/reviews'), 'wrong_node'],
  ] as const) {
    it(`refuses ${what}`, async () => {
      const refusal = await ask(token, identity).then(
        () => null,
        (thrown) => thrown,
      )
      expect(refusal).to.be.instanceOf(Refusal)
      expect(refusal.reason).to.equal(reason)
    })
  }

  it('refuses a body of another shape, and a request that is none', async () => {
    const { authority } = await testAuthority({ pods, review: tokens.review })
    for (const body of [null, 1, 'x', [], {}, { identity: id('shop/reviews') }, { identity: 1, csr: csr() }]) {
      await authority.sign('Bearer agent.n1', body).then(
        () => expect.fail('it was signed'),
        (thrown) => expect(thrown.reason).to.equal('invalid_request'),
      )
    }
    const bad = await ask('agent.n1', id('shop/reviews'), Buffer.from('nonsense').toString('base64')).catch(
      (thrown) => thrown,
    )
    expect(bad.reason).to.equal('invalid_request')
    expect(bad.message).to.include('weft-agent-n1 on node n1')
  })

  it('forgets a pod as soon as it has ended', async () => {
    const moving = testPods(agentPod('n1'), testPod('shop/reviews-1', 'n1', 'reviews'))
    const { authority } = await testAuthority({ pods: moving })
    await authority.sign('Bearer agent.n1', { identity: id('shop/reviews'), csr: csr() })
    moving.set(agentPod('n1'), testPod('shop/reviews-1', 'n1', 'reviews', { phase: 'Succeeded' }))
    const refused = await authority
      .sign('Bearer agent.n1', { identity: id('shop/reviews'), csr: csr() })
      .catch((thrown) => thrown)
    expect(refused.reason).to.equal('not_on_node')
  })

  it('asks about a token once in ten seconds, about its pod each time', async () => {
    const moving = testPods(agentPod('n1'), testPod('shop/reviews-1', 'n1', 'reviews'))
    const counted = testTokens(moving)
    const { authority, clock } = await testAuthority({ pods: moving, review: counted.review })
    for (let count = 0; count < 5; count++) await authority.agent('Bearer agent.n1')
    expect(counted.asked).to.deep.equal(['weft-authority'])
    clock.tick(10_001)
    await authority.agent('Bearer agent.n1')
    expect(counted.asked).to.have.length(2)
    moving.set(agentPod('n1', { uid: 'the next one' }))
    const refused = await authority.agent('Bearer agent.n1').catch((thrown) => thrown)
    expect(refused.reason).to.equal('wrong_uid')
  })

  it('asks the API server by a TokenReview with its own audience', async () => {
    const sent: unknown[] = []
    const review = tokenReviewer({
      async request<T>(_method: string, path: string, options?: { body?: unknown }) {
        sent.push(path, options?.body)
        return {
          status: {
            authenticated: true,
            audiences: ['weft-authority'],
            user: {
              username: good.username,
              extra: {
                'authentication.kubernetes.io/pod-name': ['weft-agent-n1'],
                'authentication.kubernetes.io/pod-uid': ['u1'],
              },
            },
          },
        } as T
      },
    })
    expect(await review('t', 'weft-authority')).to.deep.equal({ ...good, podUid: 'u1' })
    expect(sent).to.deep.equal([
      '/apis/authentication.k8s.io/v1/tokenreviews',
      {
        apiVersion: 'authentication.k8s.io/v1',
        kind: 'TokenReview',
        spec: { token: 't', audiences: ['weft-authority'] },
      },
    ])
  })

  it('is no refusal, but an error to try again, where the API server does not answer', async () => {
    const review = async () => {
      throw new ApiError('no answer', { status: 0 })
    }
    const { authority } = await testAuthority({ pods, review })
    const thrown = await authority
      .sign('Bearer agent.n1', { identity: id('shop/reviews'), csr: csr() })
      .catch((error) => error)
    expect(thrown).to.be.instanceOf(ApiError)
  })
})
