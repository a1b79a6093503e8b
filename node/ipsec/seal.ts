// Secrets of attachments in the records: sealed under a key that every controller of the mesh has, and nobody else.
import { createCipheriv, createDecipheriv, hkdfSync } from 'node:crypto'

const KEY_INFO = 'overmesh attachment secrets 1'
const NONCE_BYTES = 12
const TAG_BYTES = 16

/** The key (HKDF, RFC 5869) from the tls-crypt-v2 server key, which a newcomer is given when it joins. */
function keyOf(meshKey: Uint8Array): Uint8Array {
  return new Uint8Array(hkdfSync('sha256', meshKey, new Uint8Array(), KEY_INFO, 32))
}

/**
 * AES-256-GCM; nonce, ciphertext and tag in base64.
 * @param owner the attachment's id: what is sealed for one opens for no other
 */
export function sealSecret(
  meshKey: Uint8Array,
  owner: string,
  secret: Uint8Array,
  random: (size: number) => Uint8Array,
): string {
  const nonce = random(NONCE_BYTES)
  const cipher = createCipheriv('aes-256-gcm', keyOf(meshKey), nonce)
  cipher.setAAD(Buffer.from(owner))
  return Buffer.concat([nonce, cipher.update(secret), cipher.final(), cipher.getAuthTag()]).toString('base64')
}

/** Undefined when it was not sealed so. */
export function openSecret(meshKey: Uint8Array, owner: string, sealed: string): Buffer | undefined {
  const bytes = Buffer.from(sealed, 'base64')
  if (bytes.length < NONCE_BYTES + TAG_BYTES) return undefined
  const decipher = createDecipheriv('aes-256-gcm', keyOf(meshKey), bytes.subarray(0, NONCE_BYTES))
  decipher.setAAD(Buffer.from(owner))
  decipher.setAuthTag(bytes.subarray(-TAG_BYTES))
  try {
    return Buffer.concat([decipher.update(bytes.subarray(NONCE_BYTES, -TAG_BYTES)), decipher.final()])
  } catch {
    return undefined
  }
}
