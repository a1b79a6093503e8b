// How a newcomer shows that it was invited, without saying the secret: over keys that noise has already proven.
import { createHash, createHmac, type KeyObject, sign, timingSafeEqual, verify } from 'node:crypto'

/** What the inviter keeps of a secret. */
export function inviteKey(secret: Uint8Array): Buffer {
  return createHash('sha256').update('overmesh invite').update(secret).digest()
}

/** @param joiner @param inviter raw Ed25519 public keys */
export function proveInvited(key: Uint8Array, joiner: Uint8Array, inviter: Uint8Array): Buffer {
  return createHmac('sha256', key).update('overmesh join').update(joiner).update(inviter).digest()
}

export function isInvited(
  key: Uint8Array,
  proof: Uint8Array,
  joiner: Uint8Array,
  inviter: Uint8Array,
): boolean {
  const expected = proveInvited(key, joiner, inviter)
  return proof.length === expected.length && timingSafeEqual(proof, expected)
}

/** Shows that the newcomer has the private half of the key it wants a certificate for. */
export function provePossession(privateKey: KeyObject, joiner: Uint8Array, inviter: Uint8Array): Buffer {
  return sign('sha256', possessed(joiner, inviter), privateKey)
}

export function possesses(
  publicKey: KeyObject,
  signature: Uint8Array,
  joiner: Uint8Array,
  inviter: Uint8Array,
): boolean {
  try {
    return verify('sha256', possessed(joiner, inviter), publicKey, signature)
  } catch {
    return false
  }
}

function possessed(joiner: Uint8Array, inviter: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from('overmesh issuing'), joiner, inviter])
}
