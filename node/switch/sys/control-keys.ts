// What wraps and unwraps control packets (tls-crypt), by OpenSSL with contexts that are made once: HMAC-SHA256 and
// AES-256-CTR. The objects of node:crypto cost several times as much for packets as short as these.
import { Arena } from './arena.ts'
import { SysError } from './error.ts'
import { libcrypto, POINTER } from './library.ts'

const mac_fetch = libcrypto('EVP_MAC_fetch', POINTER, POINTER, POINTER, POINTER)
const mac_context = libcrypto('EVP_MAC_CTX_new', POINTER, POINTER)
const mac_init = libcrypto('EVP_MAC_init', 'int', POINTER, POINTER, 'size_t', POINTER)
const mac_update = libcrypto('EVP_MAC_update', 'int', POINTER, POINTER, 'size_t')
const mac_final = libcrypto('EVP_MAC_final', 'int', POINTER, POINTER, POINTER, 'size_t')
const cipher_context = libcrypto('EVP_CIPHER_CTX_new', POINTER)
const cipher_init = libcrypto(
  'EVP_CipherInit_ex2',
  'int',
  ...[POINTER, POINTER, POINTER, POINTER, 'int', POINTER],
)
const cipher_update = libcrypto('EVP_CipherUpdate', 'int', POINTER, POINTER, POINTER, POINTER, 'int')
const aes256ctr = libcrypto('EVP_aes_256_ctr', POINTER)

const KEY_LENGTH = 32
const TAG_LENGTH = 32
const IV_LENGTH = 16
/** A control packet of either end with room to spare; a caller bounds what strangers send. */
const MAX_TEXT = 4096
const KEY_AT = 0
const IV_AT = KEY_AT + KEY_LENGTH
const TAG_AT = IV_AT + IV_LENGTH
const LENGTH_AT = TAG_AT + TAG_LENGTH
const TEXT_AT = LENGTH_AT + 16
const OUT_AT = TEXT_AT + MAX_TEXT
const scratch = new Arena(OUT_AT + MAX_TEXT)

const mac = newMac()
const cipher = newCipher()

/** The keys of one direction. */
export class ControlKeys {
  readonly #cipher: Uint8Array
  readonly #hmac: Uint8Array

  /** Both 32 bytes, which are copied. */
  constructor(cipher: Uint8Array, hmac: Uint8Array) {
    if (cipher.length !== KEY_LENGTH || hmac.length !== KEY_LENGTH)
      throw new SysError('control keys', 'ECRYPTO', `${cipher.length} and ${hmac.length} bytes`)
    this.#cipher = Uint8Array.from(cipher)
    this.#hmac = Uint8Array.from(hmac)
  }

  /** HMAC-SHA256 of both together: 32 bytes. At most 4,096 bytes, else SysError. */
  tag(associated: Uint8Array, plaintext: Uint8Array): Uint8Array {
    const length = associated.length + plaintext.length
    checkLength(length)
    scratch.bytes.set(this.#hmac, KEY_AT)
    scratch.bytes.set(associated, TEXT_AT)
    scratch.bytes.set(plaintext, TEXT_AT + associated.length)
    const done =
      mac_init(mac, scratch.address(KEY_AT, KEY_LENGTH), KEY_LENGTH, 0) === 1 &&
      mac_update(mac, scratch.address(TEXT_AT, length), length) === 1 &&
      mac_final(mac, scratch.address(TAG_AT, TAG_LENGTH), scratch.address(LENGTH_AT, 8), TAG_LENGTH) === 1
    scratch.bytes.fill(0, KEY_AT, KEY_AT + KEY_LENGTH)
    if (!done) throw new SysError('EVP_MAC_final', 'ECRYPTO')
    return scratch.bytes.slice(TAG_AT, TAG_AT + TAG_LENGTH)
  }

  /** AES-256-CTR from the leading 16 bytes of `iv` on, in either direction. At most 4,096 bytes, else SysError. */
  ctr(iv: Uint8Array, text: Uint8Array): Uint8Array {
    const { length } = text
    checkLength(length)
    if (iv.length < IV_LENGTH) throw new SysError('control keys', 'ECRYPTO', `iv of ${iv.length} bytes`)
    scratch.bytes.set(this.#cipher, KEY_AT)
    scratch.bytes.set(iv.subarray(0, IV_LENGTH), IV_AT)
    scratch.bytes.set(text, TEXT_AT)
    const key = scratch.address(KEY_AT, KEY_LENGTH)
    const out = scratch.address(OUT_AT, length)
    const done =
      cipher_init(cipher, 0, key, scratch.address(IV_AT, IV_LENGTH), 1, 0) === 1 &&
      cipher_update(cipher, out, scratch.address(LENGTH_AT, 8), scratch.address(TEXT_AT, length), length) ===
        1
    scratch.bytes.fill(0, KEY_AT, KEY_AT + KEY_LENGTH)
    if (!done) throw new SysError('EVP_CipherUpdate', 'ECRYPTO')
    return scratch.bytes.slice(OUT_AT, OUT_AT + length)
  }
}

function checkLength(length: number): void {
  if (length > MAX_TEXT) throw new SysError('control keys', 'ERANGE_ARENA', `${length} bytes`)
}

/** A context that knows its hash: keys come with each packet. */
function newMac(): number {
  // OSSL_PARAM { key, type, data, size, return }, and the end of the list.
  const OSSL_PARAM_UTF8_STRING = 4
  const [NAME, DIGEST, KEY, PARAMETER] = [0, 8, 16, 24]
  const [algorithm, digest, key] = ['HMAC', 'SHA256', 'digest']
  const memory = new Arena(PARAMETER + 80)
  memory.bytes.set(Buffer.from(algorithm), NAME)
  memory.bytes.set(Buffer.from(digest), DIGEST)
  memory.bytes.set(Buffer.from(key), KEY)
  const words = PARAMETER / 4
  memory.point(words, memory, KEY, key.length)
  memory.words[words + 2] = OSSL_PARAM_UTF8_STRING
  memory.point(words + 4, memory, DIGEST, digest.length)
  memory.words[words + 6] = digest.length
  const context = Number(mac_context(Number(mac_fetch(0, memory.address(NAME, 5), 0))))
  const noKey = scratch.address(KEY_AT, KEY_LENGTH)
  if (context === 0 || mac_init(context, noKey, KEY_LENGTH, memory.address(PARAMETER, 80)) !== 1)
    throw new SysError('EVP_MAC_init', 'ECRYPTO', 'HMAC')
  return context
}

function newCipher(): number {
  const context = Number(cipher_context())
  if (context === 0 || cipher_init(context, Number(aes256ctr()), 0, 0, 1, 0) !== 1)
    throw new SysError('EVP_CipherInit_ex2', 'ECRYPTO', 'AES-256-CTR')
  return context
}
