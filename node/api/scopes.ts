// What each route asks of whoever calls it over TCP. On the unix socket the file system has decided.

import { SCOPES, type Scope } from '../../state/kinds.ts'
import type { Bearer } from '../tokens.ts'

/** `public`: without any token, such as whether the controller is well. */
export type RouteScope = Scope | 'public'

/** What takes minutes until there is anything to send, such as thousands of keys, has this long, ms. */
export const SLOW_MS = 600_000

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Every route has one: the API does not start with a route that lacks it. */
    scope?: RouteScope
    /** For a request that changes nothing though it is no GET: it is not put on record. */
    isRead?: (request: FastifyRequest) => boolean
    /** For how long there may be nothing to send, ms, where that is longer than elsewhere. */
    quietMs?: number | ((request: FastifyRequest) => number)
  }
  interface FastifyRequest {
    /** Over TCP: whose token was good. */
    bearer: Bearer | null
    /** Set by what answers for long: called when the token ends before the answer does. */
    whenTokenEnds: ((reason: string) => void) | null
  }
}

export function isWideEnough(has: Scope, needed: Scope): boolean {
  return SCOPES.indexOf(has) >= SCOPES.indexOf(needed)
}

/** For people: what it takes. */
export function scopeInWords(scope: RouteScope): string {
  return scope === 'public'
    ? 'No token is needed.'
    : `Over TCP: a token of scope ${scope}${scope === 'admin' ? '' : ' or wider'}.`
}
