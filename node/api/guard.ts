// Who may do what over TCP: a token in the Authorization header (RFC 6750), its scope against the route's, and not too
// often. What was changed is put on record with the token's name, and so is what was refused.
import rateLimit from '@fastify/rate-limit'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { NewEvent } from '../events.ts'
import { ServiceError } from '../service-error.ts'
import { hasToken, withoutTokens } from '../token-text.ts'
import type { Bearer, TokenCheck } from '../tokens.ts'
import { callerOf } from './connections.ts'
import { RequestCounts } from './request-counts.ts'
import type { Api } from './schemas.ts'
import { isWideEnough } from './scopes.ts'

export interface RequestLimits {
  /** Requests a second from one IPv4 address or IPv6 /64, whoever they are from. @default 200 */
  perAddress?: number
  /** Requests a second with one token. @default 100 */
  perToken?: number
  /** Tokens that are not good, from one address, in ten seconds. @default 10 */
  failures?: number
}

export interface GuardInit {
  tokens: TokenCheck
  /** Puts it on record. */
  record: (event: NewEvent) => void
  /** ms since 1970 */
  now: () => number
  limits?: RequestLimits
  /** Of a connection on which nothing happens, ms; longer while a request that may be quiet is worked on. @default 60000 */
  idleMs?: number
}

const SECOND_MS = 1000
const FAILURE_WINDOW_MS = 10_000
/** Between two looks at whether what is open may go on: an expiry makes no noise. */
const REVIEW_MS = 1000
const MAX_PATH = 200
const MAX_ENCODINGS = 4
/** Names under which a token is sent in addresses elsewhere. */
const TOKEN_PARAMETER = /[?&;](?:access[_-]?token|token|api[_-]?key|auth(?:orization)?|bearer|secret)=/i

export const TOKEN_IN_ADDRESS =
  'a token does not belong into an address, which logs and proxies keep: send it in the header ' +
  'Authorization: Bearer TOKEN, and revoke this one'

interface Refusal {
  status: 400 | 401 | 403 | 429
  reason: string
  /** Of RFC 6750 section 3.1. */
  error?: 'invalid_request' | 'invalid_token' | 'insufficient_scope'
  scope?: string
  retryAfter?: number
  bearer?: Bearer
}

const CODES = { 400: 'invalid', 401: 'unauthenticated', 403: 'forbidden', 429: 'limited' } as const

export interface Guard {
  /** Ends what is open under tokens that are good no more. */
  review(): void
}

/** Puts the API behind tokens. To be called before there are routes. */
export async function guard(
  app: Api,
  { tokens, record, now, limits = {}, idleMs = 60_000 }: GuardInit,
): Promise<Guard> {
  const { perAddress = 200, perToken = 100, failures = 10 } = limits
  await app.register(rateLimit, { global: false, store: RequestCounts })
  const counter = (max: number, timeWindow: number, keyGenerator: (request: FastifyRequest) => string) =>
    app.createRateLimit({ max, timeWindow, keyGenerator })
  const byAddress = counter(perAddress, SECOND_MS, callerOfRequest)
  const byToken = counter(perToken, SECOND_MS, request => request.bearer!.id)
  const byFailure = counter(failures, FAILURE_WINDOW_MS, callerOfRequest)

  const open = new Set<{ request: FastifyRequest; reply: FastifyReply }>()
  /** Requests of which it is on record what became of them. */
  const recorded = new WeakSet<FastifyRequest>()
  /** Requests that were understood and allowed, so that the controller was asked. */
  const asked = new WeakSet<FastifyRequest>()

  function refuse(request: FastifyRequest, reply: FastifyReply, refusal: Refusal): ServiceError {
    const { status, reason, error, scope, retryAfter, bearer } = refusal
    recorded.add(request)
    record({
      type: 'api-refused',
      from: from(request),
      method: request.method,
      path: pathOf(request),
      status,
      reason,
      ...(bearer && { token: bearer.name, id: bearer.id }),
    })
    if (status === 401 || status === 403 || error !== undefined) {
      const parts = ['realm="overmesh"']
      if (error !== undefined) parts.push(`error="${error}"`, `error_description="${reason}"`)
      if (scope !== undefined) parts.push(`scope="${scope}"`)
      reply.header('www-authenticate', `Bearer ${parts.join(', ')}`)
    }
    if (retryAfter !== undefined) reply.header('retry-after', retryAfter)
    // What else it sends, such as a large body, is not waited for.
    reply.header('connection', 'close')
    return new ServiceError(CODES[status], reason)
  }

  async function check(request: FastifyRequest): Promise<Refusal | undefined> {
    const requests = await byAddress(request)
    if (!requests.isAllowed && requests.isExceeded) {
      return {
        status: 429,
        retryAfter: requests.ttlInSeconds,
        reason: tooMany('from this address', requests.ttlInSeconds),
      }
    }
    if (isTokenInAddress(request.raw.url ?? '')) {
      return { status: 400, error: 'invalid_request', reason: TOKEN_IN_ADDRESS }
    }
    // Of two, whoever stands before the API may go by the other.
    if (isTwice(request, 'host') || isTwice(request, 'authorization')) {
      return {
        status: 400,
        error: 'invalid_request',
        reason: 'the headers Host and Authorization may be there once',
      }
    }
    const scope = request.is404 ? undefined : request.routeOptions.config.scope
    if (scope === 'public') return undefined
    const { authorization } = request.headers
    const verdict = authorization === undefined ? undefined : checkHeader(authorization)
    if (verdict === undefined || !verdict.good) {
      const failed = await byFailure(request)
      const bearer = verdict?.bearer
      if (!failed.isAllowed && failed.isExceeded) {
        const reason = tooMany('without a good token from this address', failed.ttlInSeconds)
        return { status: 429, retryAfter: failed.ttlInSeconds, reason, bearer }
      }
      if (verdict !== undefined)
        return { status: 401, error: 'invalid_token', reason: verdict.reason, bearer }
      return { status: 401, reason: 'a token is needed: send the header Authorization: Bearer TOKEN' }
    }
    const { bearer } = verdict
    request.bearer = bearer
    const uses = await byToken(request)
    if (!uses.isAllowed && uses.isExceeded) {
      return {
        status: 429,
        retryAfter: uses.ttlInSeconds,
        reason: 'too many requests with this token',
        bearer,
      }
    }
    if (scope === undefined || isWideEnough(bearer.scope, scope)) return undefined
    return {
      status: 403,
      error: 'insufficient_scope',
      scope,
      reason: `this takes a token of scope ${scope}; this one has ${bearer.scope}`,
      bearer,
    }
  }

  function checkHeader(authorization: string) {
    const [, text] = /^bearer +(\S+) *$/i.exec(authorization) ?? []
    if (text !== undefined) return tokens.check(text, now())
    return { good: false, reason: 'the Authorization header is not Bearer TOKEN', bearer: undefined } as const
  }

  app.decorateRequest('bearer', null)
  app.decorateRequest('whenTokenEnds', null)
  app.addHook('onRequest', async (request, reply) => {
    reply.header('cache-control', 'no-store').header('x-content-type-options', 'nosniff')
    const refusal = await check(request)
    if (refusal !== undefined) throw refuse(request, reply, refusal)
    if (request.bearer === null) return
    const entry = { request, reply }
    open.add(entry)
    reply.raw.once('close', () => open.delete(entry))
  })
  app.addHook('preHandler', async (request, reply) => {
    // Its body may have been long on its way.
    const { bearer } = request
    const reason = bearer === null ? undefined : tokens.ended(bearer, now())
    if (bearer !== null && reason !== undefined) {
      throw refuse(request, reply, { status: 401, error: 'invalid_token', reason, bearer })
    }
    asked.add(request)
    const { quietMs } = request.routeOptions.config
    if (bearer !== null && quietMs !== undefined)
      request.socket.setTimeout(typeof quietMs === 'number' ? quietMs : quietMs(request))
  })
  app.addHook('onResponse', async request => {
    if (!request.is404 && request.routeOptions.config.quietMs) request.socket.setTimeout(idleMs)
  })
  // Before anything is sent: whoever asked may be gone when it could be.
  app.addHook('onSend', async (request, reply) => {
    const { bearer, method } = request
    if (bearer === null || recorded.has(request)) return
    recorded.add(request)
    const isAsked = asked.has(request) && !request.is404
    const isRead = method === 'GET' || method === 'HEAD' || method === 'OPTIONS'
    if (isRead || (isAsked && request.routeOptions.config.isRead?.(request))) return
    record({
      type: isAsked ? 'api-request' : 'api-refused',
      token: bearer.name,
      id: bearer.id,
      from: from(request),
      method,
      path: pathOf(request),
      status: reply.statusCode,
      ...(!isAsked && { reason: request.is404 ? 'there is no such request' : 'not understood' }),
    })
  })

  function review(): void {
    for (const { request, reply } of open) {
      const reason = request.bearer && tokens.ended(request.bearer, now())
      if (!reason) continue
      if (request.whenTokenEnds) request.whenTokenEnds(reason)
      else if (reply.raw.headersSent) reply.raw.destroy()
    }
  }
  const timer = setInterval(review, REVIEW_MS).unref()
  app.addHook('onClose', async () => clearInterval(timer))
  return { review }
}

function tooMany(what: string, seconds: number): string {
  return `too many requests ${what}; try again in ${seconds} s`
}

function isTwice({ raw }: FastifyRequest, header: string): boolean {
  return raw.rawHeaders.filter((text, index) => index % 2 === 0 && text.toLowerCase() === header).length > 1
}

function callerOfRequest(request: FastifyRequest): string {
  return callerOf(request.socket.remoteAddress)
}

function from({ socket }: FastifyRequest): string {
  return socket.remoteAddress ?? ''
}

/** For events and logs: never with a token, nor with what follows the path. */
export function pathOf({ raw }: Pick<FastifyRequest, 'raw'>): string {
  return withoutTokens(decoded((raw.url ?? '').split(/[?#;]/, 1)[0]).slice(0, 2 * MAX_PATH)).slice(
    0,
    MAX_PATH,
  )
}

export function isTokenInAddress(url: string): boolean {
  return TOKEN_PARAMETER.test(url) || hasToken(url) || hasToken(decoded(url))
}

/** With percent-encoding undone, also where it was encoded again. */
function decoded(url: string): string {
  for (let turn = 0; turn < MAX_ENCODINGS && url.includes('%'); turn++) {
    url = url.replace(/%([0-7][0-9a-f])/gi, (_, hex) => String.fromCharCode(Number.parseInt(hex, 16)))
  }
  return url
}
