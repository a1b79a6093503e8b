// What an invitation is handed over as: one line of text that says which mesh, where it is found, how it proves itself,
// and what lets the bearer in, once.
import { createHash } from 'node:crypto'
import { decode, encode } from '@ipld/dag-cbor'
import { readEndpoint } from '../libp2p/endpoints.ts'

export interface InviteToken {
  /** Hex. */
  readonly meshId: string
  /** `host:port`, TCP, of the controller that invites. */
  readonly endpoints: readonly string[]
  /** SHA-256 of the mesh root's certificate, 32 bytes. */
  readonly rootFingerprint: Uint8Array
  /** Raw Ed25519 public key of the controller that invites: nobody else is talked to. */
  readonly inviter: Uint8Array
  readonly inviteId: Uint8Array
  readonly secret: Uint8Array
  /** ms since 1970 */
  readonly expiresAt: number
}

export class TokenError extends Error {
  override name = 'TokenError'
}

const PREFIX = 'om1-'
const VERSION = 1
const CHECKSUM_BYTES = 4
export const INVITE_ID_BYTES = 8
export const SECRET_BYTES = 32
const KEY_BYTES = 32
export const MAX_TOKEN_ENDPOINTS = 8
/** Eight long host names fit. */
const MAX_TOKEN_LENGTH = 4096
/** What else may be pasted in its place is not read further. */
const MAX_TEXT_LENGTH = 65_536
/** The latest time that a Date holds, ms since 1970. */
const MAX_TIME = 8.64e15
const MESH_ID = /^[0-9a-f]{16,40}$/

export function formatToken(token: InviteToken): string {
  const body = encode([
    VERSION,
    token.meshId,
    [...token.endpoints],
    token.rootFingerprint,
    token.inviter,
    token.inviteId,
    token.secret,
    token.expiresAt,
  ])
  return PREFIX + Buffer.concat([body, checksum(body)]).toString('base64url')
}

/** @throws TokenError that says what is wrong with the text */
export function parseToken(text: string): InviteToken {
  if (text.length > MAX_TEXT_LENGTH) throw foreign(text.slice(0, MAX_TEXT_LENGTH))
  const trimmed = text.trim()
  if (!trimmed.startsWith(PREFIX)) throw foreign(trimmed)
  const coded = trimmed.slice(PREFIX.length)
  if (trimmed.length > MAX_TOKEN_LENGTH || !/^[A-Za-z0-9_-]+$/.test(coded)) throw damaged()
  const bytes = Buffer.from(coded, 'base64url')
  // Text that is not what these bytes are written as was changed in its last letter.
  if (bytes.length <= CHECKSUM_BYTES || bytes.toString('base64url') !== coded) throw damaged()
  const body = bytes.subarray(0, -CHECKSUM_BYTES)
  if (!checksum(body).equals(bytes.subarray(-CHECKSUM_BYTES))) throw damaged()
  const token = read(body)
  if (token === 'newer') throw newer()
  if (token === undefined) throw damaged()
  return token
}

/** Later versions may say more at the end of one of this version. */
function read(body: Uint8Array): InviteToken | 'newer' | undefined {
  let value: unknown
  try {
    value = decode(Uint8Array.from(body))
  } catch {
    return undefined
  }
  if (!Array.isArray(value)) return undefined
  if (Number.isSafeInteger(value[0]) && value[0] > VERSION) return 'newer'
  if (value.length < 8 || value[0] !== VERSION) return undefined
  const [, meshId, endpoints, rootFingerprint, inviter, inviteId, secret, expiresAt] = value
  if (typeof meshId !== 'string' || !MESH_ID.test(meshId) || !areEndpoints(endpoints)) return undefined
  if (!isBytes(rootFingerprint, 32) || !isBytes(inviter, KEY_BYTES)) return undefined
  if (!isBytes(inviteId, INVITE_ID_BYTES) || !isBytes(secret, SECRET_BYTES)) return undefined
  if (!Number.isSafeInteger(expiresAt) || expiresAt < 0 || expiresAt > MAX_TIME) return undefined
  return { meshId, endpoints, rootFingerprint, inviter, inviteId, secret, expiresAt }
}

const isBytes = (value: unknown, length: number): value is Uint8Array =>
  value instanceof Uint8Array && value.length === length

function areEndpoints(value: unknown): value is string[] {
  return (
    Array.isArray(value) &&
    value.length > 0 &&
    value.length <= MAX_TOKEN_ENDPOINTS &&
    value.every(each => typeof each === 'string' && each.length <= 270 && readEndpoint(each) !== undefined)
  )
}

function checksum(body: Uint8Array): Buffer {
  return createHash('sha256').update(body).digest().subarray(0, CHECKSUM_BYTES)
}

/** What was given in place of a token. */
function foreign(text: string): TokenError {
  if (text === '') return new TokenError('the token is empty; paste the line that `overmesh invite` printed')
  if (/^om\d+-/.test(text)) return newer()
  if (/<(ca|cert|key|tls-crypt-v2)>|-----BEGIN |^client$/m.test(text) || /\.ovpn$/.test(text)) {
    return new TokenError(
      'that is a clientpack, which is for an OpenVPN client; a controller joins with a token of `overmesh invite`',
    )
  }
  return new TokenError(
    'that is no token, which begins with "om1-"; paste the whole line that `overmesh invite` printed',
  )
}

/** There was no form before this one. */
function newer(): TokenError {
  return new TokenError('the token is of a newer version of Overmesh; upgrade this machine, then use it here')
}

function damaged(): TokenError {
  return new TokenError(
    'the token is cut short or mistyped; paste the whole line that `overmesh invite` printed',
  )
}
