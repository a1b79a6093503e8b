// What tls-crypt and tls-crypt-v2 need of a pair of keys.
import { createCipheriv, createHmac, createSecretKey } from 'node:crypto'

export interface WrapKeys {
  /** HMAC-SHA256 of both together. */
  tag(associated: Uint8Array, plaintext: Uint8Array): Uint8Array
  /** AES-256-CTR from the leading 16 bytes of a tag on, in either direction. */
  ctr(tag: Uint8Array, text: Uint8Array): Uint8Array
}

/** Both 32 bytes. */
export type MakeWrapKeys = (cipher: Uint8Array, hmac: Uint8Array) => WrapKeys

/** By node:crypto, which is everywhere. */
export function wrapKeys(cipher: Uint8Array, hmac: Uint8Array): WrapKeys {
  const [cipherKey, hmacKey] = [createSecretKey(cipher), createSecretKey(hmac)]
  return {
    tag: (associated, plaintext) =>
      createHmac('sha256', hmacKey).update(associated).update(plaintext).digest(),
    ctr: (tag, text) => createCipheriv('aes-256-ctr', cipherKey, tag.subarray(0, 16)).update(text),
  }
}
