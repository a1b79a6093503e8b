// The key of the mesh root, protected by a passphrase so that it can be kept off the machine: PKCS#8, which `openssl
// pkcs8` reads too. OpenSSL's own way of writing it takes 2,048 rounds of PBKDF2, too few for a passphrase that people
// can remember.
import { createPrivateKey, type KeyObject, randomBytes } from 'node:crypto'
import type { Random } from './certificate.ts'
import { decode, encode, octets, sequence } from './der.ts'
import { PkiError } from './errors.ts'
import { isP256 } from './keys.ts'
import { encryptPbes2, STRONG_ITERATIONS } from './pbes2.ts'

const LABEL = 'ENCRYPTED PRIVATE KEY'
/** OpenSSL reads no longer one. */
const MAX_PASSPHRASE_BYTES = 1000
const MAX_PEM = 65_536

/** @throws PkiError BAD_ARGUMENT when the passphrase is empty or too long */
export function exportRootKey(key: KeyObject, passphrase: string, random: Random = randomBytes): string {
  if (passphrase === '') throw new PkiError('BAD_ARGUMENT', 'the passphrase is empty; give one')
  if (Buffer.byteLength(passphrase) > MAX_PASSPHRASE_BYTES) {
    throw new PkiError('BAD_ARGUMENT', `the passphrase is longer than ${MAX_PASSPHRASE_BYTES} bytes`)
  }
  const content = decode(key.export({ type: 'pkcs8', format: 'der' }))
  const { algorithm, ciphertext } = encryptPbes2(content, passphrase, STRONG_ITERATIONS, random)
  const lines = encode(sequence(algorithm, octets(ciphertext)))
    .toString('base64')
    .match(/.{1,64}/g)!
  return [`-----BEGIN ${LABEL}-----`, ...lines, `-----END ${LABEL}-----`, ''].join('\n')
}

/** @throws PkiError UNREADABLE, WRONG_PASSPHRASE */
export function importRootKey(pem: string, passphrase: string): KeyObject {
  if (pem.length > MAX_PEM || !pem.includes(`-----BEGIN ${LABEL}-----`)) {
    throw new PkiError('UNREADABLE', 'that is no exported key; it begins with "BEGIN ENCRYPTED PRIVATE KEY"')
  }
  let key: KeyObject
  try {
    key = createPrivateKey({ key: pem, passphrase })
  } catch (error) {
    // A wrong passphrase shows as bad padding, or by chance as good padding around nonsense.
    throw new PkiError(
      'WRONG_PASSPHRASE',
      'the key cannot be decrypted: the passphrase is wrong, or the file is damaged',
      { cause: error },
    )
  }
  if (!isP256(key))
    throw new PkiError('UNREADABLE', 'that is not the key of a mesh root; it is no EC P-256 key')
  return key
}
