// Fresh keys for a backbone link: ephemeral X25519 both ways (RFC 7748), HKDF-SHA256 (RFC 5869) over the shared secret. The
// channel they travel on is authenticated, so the keys are, too.
import { createPublicKey, diffieHellman, generateKeyPairSync, hkdfSync, type KeyObject } from 'node:crypto'
import type { ControllerId } from '../../state/kinds.ts'
import type { LinkKeys } from './link-plane.ts'

export const PUBLIC_KEY_BYTES = 32
const INFO = 'overmesh backbone 1'
const DIRECTION_BYTES = 128
/** SubjectPublicKeyInfo of an X25519 key up to the key itself (RFC 8410). */
const SPKI_HEAD = Buffer.from('302a300506032b656e032100', 'hex')

export interface Ephemeral {
  readonly privateKey: KeyObject
  /** Raw, 32 bytes. */
  readonly publicKey: Uint8Array
}

export function newEphemeral(): Ephemeral {
  const { privateKey, publicKey } = generateKeyPairSync('x25519')
  return { privateKey, publicKey: Buffer.from(publicKey.export({ format: 'jwk' }).x ?? '', 'base64url') }
}

export interface Agreement {
  readonly own: Ephemeral
  readonly theirs: Uint8Array
  /** Who offered. */
  readonly offerer: { readonly id: ControllerId; readonly publicKey: Uint8Array }
  readonly answerer: { readonly id: ControllerId; readonly publicKey: Uint8Array }
  readonly generation: number
  readonly role: 'offerer' | 'answerer'
}

/** The keys as one end uses them; undefined when the peer's key is of low order. */
export function agree(agreement: Agreement): LinkKeys | undefined {
  const { own, theirs, offerer, answerer, generation, role } = agreement
  let secret: Buffer
  try {
    const publicKey = createPublicKey({
      key: Buffer.concat([SPKI_HEAD, theirs]),
      format: 'der',
      type: 'spki',
    })
    secret = diffieHellman({ privateKey: own.privateKey, publicKey })
  } catch {
    return undefined
  }
  if (secret.every(byte => byte === 0)) return undefined
  const salt = Buffer.concat([offerer.publicKey, answerer.publicKey])
  const info = `${INFO}|${offerer.id}|${answerer.id}|${generation}`
  const block = new Uint8Array(hkdfSync('sha256', secret, salt, info, 2 * DIRECTION_BYTES))
  secret.fill(0)
  const direction = (at: number) => ({
    cipher: block.slice(at, at + 64),
    hmac: block.slice(at + 64, at + 128),
  })
  const [byOfferer, byAnswerer] = [direction(0), direction(DIRECTION_BYTES)]
  block.fill(0)
  return role === 'offerer'
    ? { cipher: 'AES-256-GCM', format: 'aead', send: byOfferer, receive: byAnswerer }
    : { cipher: 'AES-256-GCM', format: 'aead', send: byAnswerer, receive: byOfferer }
}
