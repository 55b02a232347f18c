// What is measured: each case with its load, and what it demands of the proxies.

export interface Case {
  readonly name: string
  readonly about: string
  /** rounds: CPU per request under wrk; latency: at a fixed rate; idle: memory of silent connections. */
  readonly kind: 'rounds' | 'latency' | 'idle'
  readonly connections: readonly number[]
  readonly method: string
  readonly path: string
  readonly bodyBytes: number
  readonly services: number
  readonly observed: boolean
  /** Who competes: every proxy; pairs of proxies with TLS between; or the agent with one and with two data threads. */
  readonly contest: 'proxies' | 'pairs' | 'threads'
}

const get: Case = {
  name: 'get',
  about: 'small GET, keep-alive',
  kind: 'rounds',
  connections: [1, 32, 256],
  method: 'GET',
  path: '/',
  bodyBytes: 0,
  services: 1,
  observed: false,
  contest: 'proxies',
}

export const cases: readonly Case[] = [
  get,
  { ...get, name: 'crowd', about: 'small GET on 2,000 connections', connections: [2000] },
  { ...get, name: 'post', about: 'POST of 10 KB', connections: [32], method: 'POST', bodyBytes: 10_240 },
  { ...get, name: 'large', about: 'response of 1 MiB', connections: [32], path: '/large' },
  { ...get, name: 'services', about: 'small GET over 64 services in turn', connections: [32], services: 64 },
  {
    ...get,
    name: 'observed',
    about: 'small GET with access log and request id or trace header',
    connections: [32],
    observed: true,
  },
  {
    ...get,
    name: 'latency',
    about: "small GET, random arrivals at half of nginx's saturation rate",
    kind: 'latency',
    connections: [64],
  },
  {
    ...get,
    name: 'idle',
    about: 'memory of a silent keep-alive connection after one request',
    kind: 'idle',
    connections: [10_000],
  },
  {
    ...get,
    name: 'tls',
    about: 'small GET through two proxies with mutual TLS 1.3 between them; CPU of both',
    contest: 'pairs',
  },
  {
    ...get,
    name: 'threads',
    about: 'two data threads against one, all on both cores',
    connections: [64],
    contest: 'threads',
  },
]
