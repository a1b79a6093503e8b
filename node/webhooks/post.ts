// One request to a webhook, signed as the Standard Webhooks have it (standardwebhooks.com): whoever answers is a stranger.
import { createHmac } from 'node:crypto'
import { request as httpRequest } from 'node:http'
import { request as httpsRequest } from 'node:https'
import packageJson from '../../package.json' with { type: 'json' }
import { type Hook, signingKey } from './hooks.ts'

export interface Message {
  /** The same at every attempt, so that a receiver can leave out what it has. */
  readonly id: string
  readonly body: string
}

export interface Outcome {
  /** Null without an answer. */
  readonly status: number | null
  /** In words, without the address; undefined when it was taken. */
  readonly problem?: string
  readonly retry: boolean
  /** ms that the receiver asks to be left alone. */
  readonly retryAfter?: number
}

/** A wish to be left alone for longer is not granted, ms. */
const MAX_RETRY_AFTER = 3600_000
const PASSING = [408, 425, 429]

/** @param now ms since 1970 @param timeout ms for all of it */
export async function post(
  hook: Hook,
  message: Message,
  { now, timeout, signal }: { now: number; timeout: number; signal?: AbortSignal },
): Promise<Outcome> {
  const ended = AbortSignal.any([AbortSignal.timeout(timeout), ...(signal ? [signal] : [])])
  const send = hook.url.startsWith('https:') ? httpsRequest : httpRequest
  const { promise, resolve } = Promise.withResolvers<Outcome>()
  const headers = {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(message.body),
    'user-agent': `overmesh/${packageJson.version}`,
    ...signature(hook, message, Math.floor(now / 1000)),
  }
  const request = send(hook.url, { method: 'POST', headers, signal: ended, agent: false }, response => {
    resolve(judge(response.statusCode ?? 0, response.headers['retry-after'], now))
    // Whatever else it has to say, however long, is of no use.
    response.destroy()
  })
  request.on('error', (error: NodeJS.ErrnoException) => {
    const isLate = ended.aborted && !signal?.aborted
    const problem = isLate
      ? `did not answer within ${timeout / 1000} s`
      : `did not answer (${error.code ?? error.message})`
    resolve({ status: null, problem, retry: true })
  })
  request.end(message.body)
  return promise
}

/** @param at seconds since 1970 */
export function signature(hook: Hook, { id, body }: Message, at: number): Record<string, string> {
  const own = { 'webhook-id': id, 'webhook-timestamp': String(at) }
  if (hook.secret === undefined) return own
  const hmac = createHmac('sha256', signingKey(hook.secret)).update(`${id}.${at}.${body}`).digest('base64')
  return { ...own, 'webhook-signature': `v1,${hmac}` }
}

function judge(status: number, retryAfter: string | undefined, now: number): Outcome {
  if (status >= 200 && status < 300) return { status, retry: false }
  if (status >= 300 && status < 400)
    return { status, problem: `answered ${status}, a redirect, which is not followed`, retry: false }
  const retry = status >= 500 || PASSING.includes(status)
  const problem = `answered ${status}`
  const wait = retry ? readRetryAfter(retryAfter, now) : undefined
  return { status, problem, retry, ...(wait !== undefined && { retryAfter: wait }) }
}

/** RFC 9110 section 10.2.3: seconds, or a date. */
function readRetryAfter(text: string | undefined, now: number): number | undefined {
  if (text === undefined) return undefined
  const ms = /^\d{1,9}$/.test(text) ? Number(text) * 1000 : Date.parse(text) - now
  return Number.isNaN(ms) ? undefined : Math.min(MAX_RETRY_AFTER, Math.max(0, ms))
}
