// PKCS#12 (RFC 7292): private key, certificate and chain in one file. node-forge writes such files for RSA keys only,
// so the bags are built here. The algorithms are those OpenSSL 3 chooses itself (PBES2 with AES-256-CBC, HMAC-SHA-256):
// OpenSSL 1.1.0 and newer and with them OpenVPN read it, without `-legacy`; so do Windows 10 and macOS 15.
import { createHash, createHmac, type KeyObject, randomBytes, type X509Certificate } from 'node:crypto'
import forge from 'node-forge'
import type { Random } from './certificate.ts'
import {
  bmp,
  type Der,
  decode,
  encode,
  integer,
  nothing,
  octets,
  oid,
  sequence,
  set,
  tagged,
  wrapped,
} from './der.ts'
import { checkKeyOf } from './keys.ts'
import { encryptPbes2 } from './pbes2.ts'

export interface Pkcs12Request {
  /** Shown by programs that import it. */
  name: string
  privateKey: KeyObject
  certificate: X509Certificate
  /** Issuing CA and root. */
  chain: readonly X509Certificate[]
  /** @default '' no password: readable by whoever has the file */
  password?: string
  /** @default randomBytes of node:crypto */
  random?: Random
}

const OID = {
  data: '1.2.840.113549.1.7.1',
  encryptedData: '1.2.840.113549.1.7.6',
  shroudedKeyBag: '1.2.840.113549.1.12.10.1.2',
  certBag: '1.2.840.113549.1.12.10.1.3',
  x509Certificate: '1.2.840.113549.1.9.22.1',
  friendlyName: '1.2.840.113549.1.9.20',
  localKeyId: '1.2.840.113549.1.9.21',
  sha256: '2.16.840.1.101.3.4.2.1',
} as const

/**
 * Rounds of deriving a key from the password. Whoever guesses takes the cheaper of MAC and encryption, so both have the
 * same. The MAC's derivation runs in JavaScript and blocks for some 50 ms.
 */
const ITERATIONS = 10_000
/** Which of the derived keys is the one for the MAC (RFC 7292 appendix B.3). */
const MAC_KEY = 3

/** @throws PkiError KEY_MISMATCH */
export function makePkcs12(request: Pkcs12Request): Uint8Array<ArrayBuffer> {
  const { name, privateKey, certificate, chain, password = '', random = randomBytes } = request
  checkKeyOf(certificate, privateKey, `the certificate of ${name}`)
  const attributes = [
    attribute(OID.friendlyName, bmp(name)),
    attribute(OID.localKeyId, octets(createHash('sha1').update(certificate.raw).digest())),
  ]
  const certificates = sequence(
    certificateBag(certificate, attributes),
    ...chain.map(authority => certificateBag(authority, [])),
  )
  const shrouded = encryptPbes2(
    decode(privateKey.export({ type: 'pkcs8', format: 'der' })),
    password,
    ITERATIONS,
    random,
  )
  const key = bag(OID.shroudedKeyBag, sequence(shrouded.algorithm, octets(shrouded.ciphertext)), attributes)
  const safe = encode(sequence(encryptedData(certificates, password, random), data(sequence(key))))
  const content = sequence(
    integer(3),
    sequence(oid(OID.data), wrapped(0, octets(safe))),
    mac(safe, password, random),
  )
  return Uint8Array.from(encode(content))
}

const attribute = (id: string, value: Der): Der => sequence(oid(id), set(value))

const bag = (id: string, value: Der, attributes: Der[]): Der =>
  sequence(oid(id), wrapped(0, value), ...(attributes.length > 0 ? [set(...attributes)] : []))

const certificateBag = (certificate: X509Certificate, attributes: Der[]): Der =>
  bag(OID.certBag, sequence(oid(OID.x509Certificate), wrapped(0, octets(certificate.raw))), attributes)

const data = (content: Der): Der => sequence(oid(OID.data), wrapped(0, octets(encode(content))))

function encryptedData(content: Der, password: string, random: Random): Der {
  const { algorithm, ciphertext } = encryptPbes2(content, password, ITERATIONS, random)
  const info = sequence(oid(OID.data), algorithm, tagged(0, ciphertext))
  return sequence(oid(OID.encryptedData), wrapped(0, sequence(integer(0), info)))
}

function mac(content: Uint8Array, password: string, random: Random): Der {
  const salt = random(16)
  const key = deriveMacKey(password, salt)
  const digest = createHmac('sha256', key).update(content).digest()
  return sequence(
    sequence(sequence(oid(OID.sha256), nothing()), octets(digest)),
    octets(salt),
    integer(ITERATIONS),
  )
}

/** node-forge's type declarations lack it. */
interface Pkcs12Derivation {
  generateKey(
    password: string,
    salt: forge.util.ByteBuffer,
    id: number,
    iterations: number,
    length: number,
    digest: forge.md.MessageDigest,
  ): forge.util.ByteBuffer
}

function deriveMacKey(password: string, salt: Uint8Array): Buffer {
  const { generateKey } = forge.pkcs12 as unknown as Pkcs12Derivation
  const saltBuffer = forge.util.createBuffer(Buffer.from(salt).toString('latin1'))
  const key = generateKey(password, saltBuffer, MAC_KEY, ITERATIONS, 32, forge.md.sha256.create())
  return Buffer.from(key.getBytes(), 'latin1')
}
