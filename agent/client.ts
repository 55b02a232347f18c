// HTTP from Node and undici in the parts that the control thread needs. Their front doors bring fetch, WebSocket, caches
// and mocks along, which no agent uses and every node would pay for: 15 MB.

import { createRequire } from 'node:module'
import type { Agent as AgentClass } from 'undici'

const require = createRequire(import.meta.url)

/** node:http; imported as a module it would load all that it exports lazily, among it a second undici. */
export const http = require('node:http') as typeof import('node:http')

/** undici's Agent, with `request`, which its front door adds to all dispatchers. */
export const Agent = require('undici/lib/dispatcher/agent.js') as typeof AgentClass
Reflect.set(Agent.prototype, 'request', require('undici/lib/api/api-request.js'))

export type { Dispatcher } from 'undici'
