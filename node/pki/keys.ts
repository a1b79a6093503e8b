// EC P-256 keys of certificates.

import type { X509Certificate } from 'node:crypto'
import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { PkiError } from './errors.ts'

/** A new private key; `createPublicKey` of node:crypto gives its public half. */
export function newPrivateKey(): KeyObject {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
}

/** PKCS#8, PEM, not encrypted. */
export function formatPrivateKey(key: KeyObject): string {
  return key.export({ type: 'pkcs8', format: 'pem' }) as string
}

/** @throws PkiError UNREADABLE when it is no P-256 private key in PEM */
export function parsePrivateKey(pem: string): KeyObject {
  let key: KeyObject
  try {
    key = createPrivateKey(pem)
  } catch (error) {
    throw new PkiError('UNREADABLE', 'the private key cannot be read; restore it from a backup', {
      cause: error,
    })
  }
  if (!isP256(key)) throw new PkiError('UNREADABLE', 'the private key is not an EC P-256 key')
  return key
}

export function isP256(key: KeyObject): boolean {
  return key.asymmetricKeyType === 'ec' && key.asymmetricKeyDetails?.namedCurve === 'prime256v1'
}

export function publicKeyOf(key: KeyObject): KeyObject {
  return createPublicKey(key)
}

/** @throws PkiError KEY_MISMATCH when the key is not that of the certificate */
export function checkKeyOf(certificate: X509Certificate, key: KeyObject, what: string): void {
  if (!certificate.checkPrivateKey(key)) {
    throw new PkiError('KEY_MISMATCH', `the key is not that of ${what}; find the one that belongs to it`)
  }
}
