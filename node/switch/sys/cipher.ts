// AEAD ciphers by OpenSSL's EVP interface: contexts keyed once, then four or five calls a packet.
import type { Arena as ArenaType } from './arena.ts'
import { Arena } from './arena.ts'
import { SysError } from './error.ts'
import { libcrypto, POINTER } from './library.ts'

const context_new = libcrypto('EVP_CIPHER_CTX_new', POINTER)
const context_free = libcrypto('EVP_CIPHER_CTX_free', 'void', POINTER)
const context_ctrl = libcrypto('EVP_CIPHER_CTX_ctrl', 'int', POINTER, 'int', 'int', POINTER)
const init = libcrypto('EVP_CipherInit_ex2', 'int', POINTER, POINTER, POINTER, POINTER, 'int', POINTER)
// EVP_Cipher goes straight to the cipher: additional data without `out`, the end without `in`, text with both.
// It saves the block bookkeeping of EVP_CipherUpdate, which an AEAD cipher has no use for.
const cipher = libcrypto('EVP_Cipher', 'int', POINTER, POINTER, POINTER, 'uint')

const algorithms = {
  'AES-128-GCM': { make: libcrypto('EVP_aes_128_gcm', POINTER), keyLength: 16 },
  'AES-192-GCM': { make: libcrypto('EVP_aes_192_gcm', POINTER), keyLength: 24 },
  'AES-256-GCM': { make: libcrypto('EVP_aes_256_gcm', POINTER), keyLength: 32 },
  'CHACHA20-POLY1305': { make: libcrypto('EVP_chacha20_poly1305', POINTER), keyLength: 32 },
} as const

export type CipherName = keyof typeof algorithms

/** Bytes of authentication tag, the same for all. */
export const TAG_LENGTH = 16
/** Bytes of nonce, the same for all. */
export const NONCE_LENGTH = 12

/** Bytes of key that a cipher takes. */
export function keyLength(name: CipherName): number {
  return algorithms[name].keyLength
}

/** A keyed context of OpenSSL's. Opaque. */
export type Cipher = number & { readonly brand?: 'Cipher' }

const EVP_CTRL_AEAD_GET_TAG = 0x10

// One OSSL_PARAM { key, type, data, size, return } and its terminator: gives nonce and expected tag in one call.
const OSSL_PARAM_OCTET_STRING = 5
const names = new Arena(16)
const tagParameter = new Arena(80)
names.bytes.set(new TextEncoder().encode('tag'))
tagParameter.point(0, names, 0, 4)
tagParameter.words[2] = OSSL_PARAM_OCTET_STRING
tagParameter.words[6] = TAG_LENGTH
const tagParameterAddress = tagParameter.address(0, 80)
const DATA_WORD = 4

const keyScratch = new Arena(32)

/**
 * A context for one direction of one key. `key` may be longer: its leading bytes count. The caller wipes it.
 * Throws SysError `ECRYPTO` when OpenSSL refuses (for example a FIPS build without the cipher).
 */
export function newCipher(name: CipherName, key: Uint8Array, sealing: boolean): Cipher {
  const { make, keyLength } = algorithms[name]
  if (key.length < keyLength)
    throw new SysError('EVP_CipherInit_ex2', 'ECRYPTO', `key of ${key.length} bytes`)
  const context = Number(context_new())
  if (context === 0) throw new SysError('EVP_CIPHER_CTX_new', 'ENOMEM')
  keyScratch.bytes.set(key.subarray(0, keyLength))
  const done = init(context, Number(make()), keyScratch.address(0, keyLength), 0, sealing ? 1 : 0, 0)
  keyScratch.bytes.fill(0)
  if (done === 1) return context
  context_free(context)
  throw new SysError('EVP_CipherInit_ex2', 'ECRYPTO', name)
}

/** Wipes and releases a context. It must not be used again. */
export function freeCipher(context: Cipher | null): void {
  if (context !== null) context_free(context)
}

/**
 * Encrypts `length` bytes at `plainAt` of `plain` to `textAt` of `out`, authenticates them and the `headerLength`
 * bytes already at `headerAt` of `out`, and puts the tag to `tagAt`. The nonce is the 12 bytes at `nonceAt`.
 */
export function seal(
  context: Cipher,
  nonces: ArenaType,
  nonceAt: number,
  plain: ArenaType,
  plainAt: number,
  length: number,
  out: ArenaType,
  headerAt: number,
  headerLength: number,
  textAt: number,
  tagAt: number,
): boolean {
  const nonce = nonces.address(nonceAt, NONCE_LENGTH)
  const from = plain.address(plainAt, length)
  const header = out.address(headerAt, headerLength)
  const to = out.address(textAt, length)
  const tag = out.address(tagAt, TAG_LENGTH)
  return (
    init(context, 0, 0, nonce, 1, 0) === 1 &&
    cipher(context, 0, header, headerLength) >= 0 &&
    (length === 0 || cipher(context, to, from, length) >= 0) &&
    cipher(context, 0, 0, 0) >= 0 &&
    context_ctrl(context, EVP_CTRL_AEAD_GET_TAG, TAG_LENGTH, tag) === 1
  )
}

/**
 * The reverse of `seal`: false when the tag at `tagAt` of `packet` does not fit. What was written to `plain` is then
 * to be forgotten.
 */
export function open(
  context: Cipher,
  nonces: ArenaType,
  nonceAt: number,
  packet: ArenaType,
  headerAt: number,
  headerLength: number,
  textAt: number,
  length: number,
  tagAt: number,
  plain: ArenaType,
  plainAt: number,
): boolean {
  const nonce = nonces.address(nonceAt, NONCE_LENGTH)
  const header = packet.address(headerAt, headerLength)
  const from = packet.address(textAt, length)
  const to = plain.address(plainAt, length)
  tagParameter.point(DATA_WORD, packet, tagAt, TAG_LENGTH)
  return (
    init(context, 0, 0, nonce, 0, tagParameterAddress) === 1 &&
    cipher(context, 0, header, headerLength) >= 0 &&
    (length === 0 || cipher(context, to, from, length) >= 0) &&
    cipher(context, 0, 0, 0) >= 0
  )
}
