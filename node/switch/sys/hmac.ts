// HMAC-SHA256 by OpenSSL in one call. node:crypto's own leaves buffers behind that only an event loop gives back, and
// the switch's thread has none.
import { Arena } from './arena.ts'
import { SysError } from './error.ts'
import { libcrypto, POINTER } from './library.ts'

const HMAC = libcrypto('HMAC', POINTER, POINTER, POINTER, 'int', POINTER, 'size_t', POINTER, POINTER)
const sha256 = libcrypto('EVP_sha256', POINTER)

const LENGTH = 32
const MAX_INPUT = 256
const KEY_AT = 0
const DATA_AT = MAX_INPUT
const OUT_AT = 2 * MAX_INPUT
const scratch = new Arena(3 * MAX_INPUT)

/** The leading bytes of the HMAC of `data`, as many as `out` has, at most 32. Key and data: at most 256 bytes each. */
export function hmacSha256(key: Uint8Array, data: Uint8Array, out: Uint8Array): void {
  if (key.length > MAX_INPUT || data.length > MAX_INPUT || out.length > LENGTH) {
    throw new SysError('HMAC', 'ECRYPTO', `${key.length}, ${data.length}, ${out.length} bytes`)
  }
  scratch.bytes.set(key, KEY_AT)
  scratch.bytes.set(data, DATA_AT)
  const result = HMAC(
    Number(sha256()),
    scratch.address(KEY_AT, key.length),
    key.length,
    scratch.address(DATA_AT, data.length),
    data.length,
    scratch.address(OUT_AT, LENGTH),
    0,
  )
  for (let i = 0; i < out.length; i++) out[i] = scratch.bytes[OUT_AT + i]
  scratch.bytes.fill(0)
  if (Number(result) === 0) throw new SysError('HMAC', 'ECRYPTO')
}
