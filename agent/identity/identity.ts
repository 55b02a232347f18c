// Identity on the control thread, put together: whom to trust, the way to the authority, and the certificates of the
// node's accounts, handed on to the data threads.

import { readFileSync } from 'node:fs'
import type { Dispatcher } from 'undici'
import { agentAccount, parseIdentity } from '../../controller/contract/identity.ts'
import type { Key } from '../../controller/contract/resources.ts'
import type { Clock, Timer } from '../clock.ts'
import { authoritySign, openController } from './controller.ts'
import { identityContext } from './key.ts'
import type { IdentityMessage } from './messages.ts'
import { type Keeper, type KeptIdentity, startKeeper } from './renew.ts'
import { readTrust, type Trust, watchTrust } from './trust.ts'

export interface IdentityOptions {
  /** Where the ConfigMap `weft-trust` is mounted. */
  trustFolder: string
  /** Origin of the controller. */
  controller: string
  /** The projected token. */
  tokenFile: string
  clock: Clock
  /** 0 ≤ x < 1, for jitter. */
  random: () => number
  /** Hands a message to every data thread. */
  publish: (message: IdentityMessage) => void
  /** What `report` gives has changed: the controller wants to be told. */
  changed: () => void
  log: (level: 'info' | 'warn', fields: Record<string, unknown>, message: string) => void
}

export interface IdentityPart {
  /** Resolves when it is known whom to trust: before that, the controller can't be asked. */
  readonly trusted: Promise<void>
  /** What requests to the controller are sent with; throws while it is not known whom to trust. */
  dispatcher(): Dispatcher
  /** For the reports to the controller. */
  report(): { trust?: string; signers?: string[] }
  /** A caller of this account waits for its certificate. */
  need(account: Key): void
  /** There is a line to the controller again: what it could not be asked for is asked for now. */
  retry(): void
  /**
   * What runs on the node now.
   * @param present accounts of its pods: certificates of all others are forgotten
   * @param ahead those of them whose certificates are asked for before anybody calls
   */
  retain(present: ReadonlySet<Key>, ahead: ReadonlySet<Key>): void
  /** All that a data thread which has just started must know. */
  replay(post: (message: IdentityMessage) => void): void
  list(): KeptIdentity[]
  /** What the agent waits for; empty if it has its own certificate. */
  trouble(): string
  stop(): Promise<void>
}

const retryMs = 1_000

/** Starts identity; where the trust bundle is not mounted yet, it waits for it. */
export function startIdentity(options: IdentityOptions): IdentityPart {
  const { clock, log } = options
  const access = openController()
  let keeper: Keeper | null = null
  let present: ReadonlySet<Key> = new Set()
  let ahead: ReadonlySet<Key> = new Set()
  let stopWatching = () => {}
  let timer: Timer | null = null
  let trouble = ''
  const trusted = Promise.withResolvers<void>()

  function begin(): void {
    timer = null
    try {
      startWith(readTrust(options.trustFolder))
      trouble = ''
      trusted.resolve()
    } catch (thrown) {
      const found = (thrown as Error).message
      if (found !== trouble) log('warn', { error: found }, 'no trust bundle yet')
      trouble = found
      timer = clock.setTimeout(begin, retryMs)
      timer.unref()
    }
  }

  function startWith(first: Trust): void {
    const own = `${parseIdentity(first.controller)!.namespace}/${agentAccount}`
    let mine: Extract<IdentityMessage, { type: 'certificate' }> | null = null
    let trust = first
    const use = () => access.use(trust, mine === null ? null : identityContext(mine.key, mine.chain, trust.bundle))
    use()
    keeper = startKeeper({
      trust,
      own,
      sign: authoritySign(access, options.controller, () => readFileSync(options.tokenFile, 'utf8')),
      clock,
      random: options.random,
      log,
      publish(message) {
        options.publish(message)
        if (message.type === 'certificate' && message.account === own) {
          mine = message
          use()
        }
        if (message.type === 'trust' && message.bundle !== trust.bundle) {
          trust = { ...trust, bundle: message.bundle }
          use()
        }
      },
      changed: options.changed,
    })
    keeper.retain(present)
    for (const account of ahead) keeper.want(account, 'soon')
    stopWatching = watchTrust(options.trustFolder, clock, first, (next) => {
      log('info', { trust: next.hash, signer: next.signer }, 'the trust bundle has changed')
      trust = next
      use()
      keeper?.setTrust(next)
    })
  }

  begin()
  return {
    trusted: trusted.promise,
    dispatcher: () => access.dispatcher(),
    report: () => (keeper === null ? {} : { trust: keeper.trust().hash, signers: keeper.signers() }),
    need: (account) => keeper?.want(account, 'now'),
    retry: () => keeper?.retry(),
    retain(accounts, soon) {
      present = accounts
      ahead = soon
      keeper?.retain(accounts)
      for (const account of soon) keeper?.want(account, 'soon')
    },
    replay: (post) => keeper?.replay(post),
    list: () => keeper?.list() ?? [],
    trouble() {
      if (keeper === null) return trouble
      const [mine] = keeper.list()
      return mine === undefined || mine.expires > 0 ? '' : `the agent's own certificate: ${mine.problem || 'asked for'}`
    },
    async stop() {
      if (timer !== null) clock.clearTimeout(timer)
      stopWatching()
      keeper?.stop()
      await access.close()
    },
  }
}
