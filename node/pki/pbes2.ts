// Encryption by passphrase as PKCS#5 version 2 has it (RFC 8018): PBKDF2 with HMAC-SHA-256, then AES-256-CBC.
import { createCipheriv, pbkdf2Sync } from 'node:crypto'
import type { Random } from './certificate.ts'
import { type Der, encode, integer, nothing, octets, oid, sequence } from './der.ts'

/** As OWASP's Password Storage Cheat Sheet has it for PBKDF2 with HMAC-SHA-256; a good tenth of a second. */
export const STRONG_ITERATIONS = 600_000

const OID = {
  pbes2: '1.2.840.113549.1.5.13',
  pbkdf2: '1.2.840.113549.1.5.12',
  hmacWithSha256: '1.2.840.113549.2.9',
  aes256Cbc: '2.16.840.1.101.3.4.1.42',
} as const

export interface Encrypted {
  /** AlgorithmIdentifier of PBES2 with all that decryption needs but the passphrase. */
  algorithm: Der
  ciphertext: Uint8Array
}

/** @param passphrase counts as its UTF-8 bytes */
export function encryptPbes2(
  content: Der,
  passphrase: string,
  iterations: number,
  random: Random,
): Encrypted {
  const salt = random(16)
  const iv = random(16)
  const key = pbkdf2Sync(passphrase, salt, iterations, 32, 'sha256')
  const cipher = createCipheriv('aes-256-cbc', key, iv)
  const ciphertext = Buffer.concat([cipher.update(encode(content)), cipher.final()])
  const derivation = sequence(octets(salt), integer(iterations), sequence(oid(OID.hmacWithSha256), nothing()))
  const algorithm = sequence(
    oid(OID.pbes2),
    sequence(sequence(oid(OID.pbkdf2), derivation), sequence(oid(OID.aes256Cbc), octets(iv))),
  )
  return { algorithm, ciphertext }
}
