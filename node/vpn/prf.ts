// Key derivation of clients without tls-ekm (2.4, 2.5): the TLS 1.0 PRF, P_MD5 xor P_SHA1 (RFC 2246 section 5).
// Source of labels and order: OpenVPN src/openvpn/ssl.c, generate_key_expansion_openvpn_prf.
import { createHmac } from 'node:crypto'

export const KEY_BLOCK_LENGTH = 256

/** @param seed label included: this form hashes label | seed */
export function tls1Prf(secret: Uint8Array, seed: Uint8Array, length: number): Uint8Array {
  const half = Math.ceil(secret.length / 2)
  const md5 = expand('md5', secret.subarray(0, half), seed, length)
  const sha1 = expand('sha1', secret.subarray(secret.length - half), seed, length)
  return md5.map((byte, i) => byte ^ sha1[i])
}

export interface PrfInput {
  /** 48 bytes */
  preMaster: Uint8Array
  /** 32 bytes each */
  clientRandom1: Uint8Array
  clientRandom2: Uint8Array
  serverRandom1: Uint8Array
  serverRandom2: Uint8Array
  clientSid: Uint8Array
  serverSid: Uint8Array
}

/** The 256-byte key block. */
export function deriveKeyBlockPrf(input: PrfInput): Uint8Array {
  const master = tls1Prf(
    input.preMaster,
    Buffer.concat([Buffer.from('OpenVPN master secret'), input.clientRandom1, input.serverRandom1]),
    48,
  )
  return tls1Prf(
    master,
    Buffer.concat([
      Buffer.from('OpenVPN key expansion'),
      input.clientRandom2,
      input.serverRandom2,
      input.clientSid,
      input.serverSid,
    ]),
    KEY_BLOCK_LENGTH,
  )
}

/** P_hash of RFC 2246. */
function expand(hash: 'md5' | 'sha1', secret: Uint8Array, seed: Uint8Array, length: number): Uint8Array {
  const out = new Uint8Array(length)
  let a: Uint8Array = seed
  for (let at = 0; at < length; ) {
    a = createHmac(hash, secret).update(a).digest()
    const block = createHmac(hash, secret).update(a).update(seed).digest()
    const part = block.subarray(0, length - at)
    out.set(part, at)
    at += part.length
  }
  return out
}
