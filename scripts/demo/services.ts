// What the four services of the shop answer.

import type { IncomingHttpHeaders } from 'node:http'
import type { Caller, Reply } from './call.ts'
import { page } from './page.ts'

export interface Setting {
  version: string
  pod: string
  node: string
  /** Where the other services are, as `http://host:port`. */
  details: string
  reviews: string
  ratings: string
  caller: Caller
}

export interface Answer {
  status: number
  type: string
  body: string
}

export interface Details {
  title: string
  author: string
  year: number
  pages: number
  binding: string
  blurb: string
}

export interface Review {
  reviewer: string
  text: string
  /** Absent in v1, which asks nobody for ratings; an error where they could not be had. */
  rating?: { stars: number; colour: 'black' | 'red' } | { error: string }
}

export interface Reviews {
  version: string
  pod: string
  reviews: Review[]
}

/** A part of the page: what a service answered, or why it didn't. */
export type Part<T> = { value: T } | { error: string }

const details: Details = {
  title: 'The Loom and the Lighthouse',
  author: 'Ines Calloway',
  year: 2019,
  pages: 312,
  binding: 'Cloth, with a ribbon',
  blurb:
    'A weaver inherits a lighthouse and finds that every thread she spins shows her one ship safely home. A quiet novel about paths, patterns and the people who keep them.',
}

const stars: Record<string, number> = { Mara: 5, Tobias: 4 }

const opinions: Review[] = [
  { reviewer: 'Mara', text: 'Read it twice in a week. The chapter with the storm should come with a warm drink.' },
  { reviewer: 'Tobias', text: 'Slow at first, and then you miss your stop. Twice, in my case.' },
]

type Handler = (path: string, headers: IncomingHttpHeaders, setting: Setting) => Promise<Answer>

async function productpage(path: string, headers: IncomingHttpHeaders, setting: Setting): Promise<Answer> {
  if (path === '/api/reviews') return json(200, await part<Reviews>(askReviews(headers, setting)))
  if (path !== '/' && path !== '/productpage') return missing(path)
  const [about, reviews] = await Promise.all([
    part<Details>(setting.caller(`${setting.details}/details/0`, headers)),
    part<Reviews>(askReviews(headers, setting)),
  ])
  return { status: 200, type: 'text/html; charset=utf-8', body: page(about, reviews, setting) }
}

function askReviews(headers: IncomingHttpHeaders, setting: Setting): Promise<Reply> {
  return setting.caller(`${setting.reviews}/reviews/0`, headers)
}

async function part<T>(asked: Promise<Reply>): Promise<Part<T>> {
  const { status, body, reason } = await asked
  if (status === 200 && body !== undefined) return { value: body as T }
  return { error: reason ?? `status ${status}` }
}

async function reviews(path: string, headers: IncomingHttpHeaders, setting: Setting): Promise<Answer> {
  if (!path.startsWith('/reviews/')) return missing(path)
  const { version, pod } = setting
  if (version === 'v1') return json(200, { version, pod, reviews: opinions })
  const ratings = await part<Record<string, number>>(setting.caller(`${setting.ratings}/ratings/0`, headers))
  const colour = version === 'v2' ? 'black' : 'red'
  const rated = opinions.map((opinion) => ({
    ...opinion,
    rating: 'value' in ratings ? { stars: ratings.value[opinion.reviewer] ?? 0, colour } : ratings,
  }))
  return json(200, { version, pod, reviews: rated })
}

function fixed(prefix: string, value: unknown): Handler {
  return async (path) => (path.startsWith(prefix) ? json(200, value) : missing(path))
}

function json(status: number, value: unknown): Answer {
  return { status, type: 'application/json', body: `${JSON.stringify(value)}\n` }
}

function missing(path: string): Answer {
  return json(404, { error: `nothing at ${path}` })
}

/** Probes ask every service for this. */
function withHealth(handler: Handler): Handler {
  return async (path, headers, setting) =>
    path === '/healthz' ? json(200, { ok: true }) : handler(path, headers, setting)
}

/** The services by name. */
export const handlers = {
  productpage: withHealth(productpage),
  details: withHealth(fixed('/details/', details)),
  reviews: withHealth(reviews),
  ratings: withHealth(fixed('/ratings/', stars)),
} satisfies Record<string, Handler>

/** True for a name that `handlers` has. */
export function isService(name: string): name is keyof typeof handlers {
  return Object.hasOwn(handlers, name)
}
