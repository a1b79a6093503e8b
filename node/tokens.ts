// Tokens of the API as records of the mesh: made and revoked on any controller, good on all of them. Only a hash is kept.
import { randomBytes, timingSafeEqual } from 'node:crypto'
import type { Scope, TokenValue } from '../state/kinds.ts'
import type { Op } from '../state/writing.ts'
import type { Home } from './home.ts'
import { ServiceError } from './service-error.ts'
import { type AddToken, DEFAULT_TOKEN_SECONDS, MAX_TOKEN_SECONDS, type Token } from './service-tokens.ts'
import { formatToken, hashSecret, parseToken, SECRET_BYTES } from './token-text.ts'

/** Whoever sent a good token. */
export interface Bearer {
  readonly id: string
  readonly name: string
  readonly scope: Scope
}

export type TokenVerdict =
  | { readonly good: true; readonly bearer: Bearer }
  | {
      readonly good: false
      /** In words, for whoever sent it. */
      readonly reason: string
      /** Known only if what was sent proves that it was one once. */
      readonly bearer?: Bearer
    }

/** What the API has to know of tokens. */
export interface TokenCheck {
  /** @param text as it was sent @param now ms since 1970 */
  check(text: string, now: number): TokenVerdict
  /** Why a token that was good is no more; undefined while it is. */
  ended(bearer: Bearer, now: number): string | undefined
}

/** Those that have not expired; revoked ones count, as nobody may forget them. */
export const MAX_TOKENS = 1000
/** How long those that expired are kept, to be looked at, ms. */
const KEEP_MS = 30 * 86_400_000
const UNKNOWN =
  'the token is not known here: it is of another mesh, or mistyped; `overmesh token add` makes one'
/** Is compared where there is none to compare with, so that this takes as long. */
const NO_HASH = Buffer.alloc(32)

export class Tokens implements TokenCheck {
  readonly #home: Home

  constructor(home: Home) {
    this.#home = home
  }

  check(text: string, now: number): TokenVerdict {
    const parsed = parseToken(text)
    if (parsed === undefined) {
      return { good: false, reason: 'what was sent is no token of Overmesh, or not all of one' }
    }
    const value = this.#home.replica.get('token', parsed.id)
    const hash = value === undefined ? NO_HASH : Buffer.from(value.hash, 'hex')
    const isRight = timingSafeEqual(hashSecret(parsed.secret), hash)
    if (value === undefined || !isRight) {
      return { good: false, reason: UNKNOWN }
    }
    const bearer = { id: parsed.id, name: value.name, scope: value.scope }
    const reason = this.ended(bearer, now)
    return reason === undefined ? { good: true, bearer } : { good: false, reason, bearer }
  }

  ended({ id, scope }: Bearer, now: number): string | undefined {
    const value = this.#home.replica.get('token', id)
    if (value === undefined) return 'the token was deleted'
    const state = this.#stateOf(id, value, now)
    if (state === 'revoked') return 'the token was revoked'
    if (state === 'expired') return `the token expired at ${new Date(value.expiresAt).toISOString()}`
    if (state === 'void') return 'the token is void: the controller that made it was taken out of the mesh'
    return value.scope === scope ? undefined : 'the token was changed'
  }

  /** By name, the latest of a name last. @param now ms since 1970 */
  list(now: number): Token[] {
    return [...this.#home.replica.all('token')]
      .filter(({ value }) => now - value.expiresAt < KEEP_MS)
      .sort(
        (a, b) =>
          compare(a.value.name, b.value.name) || a.value.createdAt - b.value.createdAt || compare(a.id, b.id),
      )
      .map(({ id, value }) => this.#describe(id, value, now))
  }

  /** @throws ServiceError */
  async add({ name, scope, ttlSeconds = DEFAULT_TOKEN_SECONDS }: AddToken, now: number) {
    if (!(ttlSeconds >= 1 && ttlSeconds <= MAX_TOKEN_SECONDS)) {
      throw new ServiceError('invalid', `a token is good for 1 to ${MAX_TOKEN_SECONDS} seconds`)
    }
    const id = randomBytes(8).toString('hex')
    const secret = randomBytes(SECRET_BYTES).toString('base64url')
    const value: TokenValue = {
      name,
      scope,
      hash: hashSecret(secret).toString('hex'),
      createdAt: now,
      expiresAt: now + ttlSeconds * 1000,
    }
    await this.#home.replica.write(() => {
      this.#refuseIfFull(name, now)
      return [...this.#forgettable(now), { kind: 'token', id, value }]
    })
    return { token: this.#describe(id, value, now), secret: formatToken({ id, secret }) }
  }

  /**
   * Both halves of a cut mesh may have made one of that name: all of them end.
   * @param name or id
   * @throws ServiceError
   */
  async revoke(name: string, now: number): Promise<Token[]> {
    const named = this.list(now).filter(token => token.name === name || token.id === name)
    if (named.length === 0) {
      throw new ServiceError('not-found', `there is no token ${name}; see \`overmesh token list\``)
    }
    const ids = named.filter(({ state }) => state !== 'revoked' && state !== 'expired').map(({ id }) => id)
    if (ids.length === 0) {
      throw new ServiceError('refused', `the token ${name} has ended already; see \`overmesh token list\``)
    }
    await this.#home.replica.write(() =>
      ids.flatMap((id): Op[] => {
        const value = this.#home.replica.get('token', id)
        return value === undefined ? [] : [{ kind: 'token', id, value: { ...value, revokedAt: now } }]
      }),
    )
    return this.list(now).filter(({ id }) => ids.includes(id))
  }

  #refuseIfFull(name: string, now: number): void {
    const lasting = [...this.#home.replica.all('token')].filter(({ value }) => value.expiresAt > now)
    if (lasting.some(({ id, value }) => value.name === name && this.#stateOf(id, value, now) === 'good')) {
      throw new ServiceError(
        'exists',
        `there is a token ${name} already; choose another name, or \`overmesh token revoke ${name}\` first`,
      )
    }
    if (lasting.length < MAX_TOKENS) return
    throw new ServiceError(
      'refused',
      `there are ${lasting.length} tokens that have not expired, and no more are kept; those that were revoked count ` +
        'until then, so give shorter times by --ttl',
    )
  }

  /** One that comes back to life, as records of a machine that was away for long may, has expired all the same. */
  #forgettable(now: number): Op[] {
    return [...this.#home.replica.all('token')]
      .filter(({ value }) => now - value.expiresAt >= KEEP_MS)
      .map(({ id }) => ({ kind: 'token', id, value: null }))
  }

  #stateOf(id: string, value: TokenValue, now: number): Token['state'] {
    if (value.revokedAt !== undefined) return 'revoked'
    if (now >= value.expiresAt) return 'expired'
    const author = this.#home.replica.record('token', id)?.author
    return author !== undefined && !this.#home.views.isAdmitted(author) ? 'void' : 'good'
  }

  #describe(id: string, value: TokenValue, now: number): Token {
    const author = this.#home.replica.record('token', id)?.author ?? this.#home.id
    const instant = (time: number) => new Date(time).toISOString()
    return {
      name: value.name,
      id,
      scope: value.scope,
      state: this.#stateOf(id, value, now),
      createdAt: instant(value.createdAt),
      createdBy: this.#home.replica.get('controller', author)?.name ?? author,
      expiresAt: instant(value.expiresAt),
      revokedAt: value.revokedAt === undefined ? null : instant(value.revokedAt),
    }
  }
}

function compare(a: string, b: string): number {
  return a < b ? -1 : Number(a > b)
}
