// What a token of the API looks like: `omt1_`, an id to find its record by, and a secret of 256 random bits. A secret like
// that needs no slow hash: there is no list of likely ones to try.
import { createHash } from 'node:crypto'

export interface TokenText {
  /** 16 hexadecimal digits. */
  readonly id: string
  /** 32 bytes, base64url. */
  readonly secret: string
}

export const SECRET_BYTES = 32
const TOKEN = /^omt1_([0-9a-f]{16})_([A-Za-z0-9_-]{43})$/
/** Also of what is only the beginning of one. */
const ANYWHERE = /omt1_[A-Za-z0-9_-]*/gi

export function formatToken({ id, secret }: TokenText): string {
  return `omt1_${id}_${secret}`
}

/** Undefined for what is none. */
export function parseToken(text: string): TokenText | undefined {
  const [, id, secret] = TOKEN.exec(text) ?? []
  return id === undefined ? undefined : { id, secret }
}

/** SHA-256, 32 bytes. */
export function hashSecret(secret: string): Buffer {
  return createHash('sha256').update(secret).digest()
}

/** Whether there is a token in the text, or a piece of one. */
export function hasToken(text: string): boolean {
  return text.search(ANYWHERE) >= 0
}

/** The text for logs and events. */
export function withoutTokens(text: string): string {
  return text.replace(ANYWHERE, 'omt1_…')
}
