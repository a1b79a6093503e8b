// What is read from a certificate that OpenSSL has parsed.
import { Arena } from './arena.ts'
import { SysError } from './error.ts'
import { libc, libcrypto, POINTER } from './library.ts'

const serial_number = libcrypto('X509_get0_serialNumber', POINTER, POINTER)
const subject_name = libcrypto('X509_get_subject_name', POINTER, POINTER)
const digest = libcrypto('X509_digest', 'int', POINTER, POINTER, POINTER, POINTER)
const name_text = libcrypto('X509_NAME_get_text_by_NID', 'int', POINTER, 'int', POINTER, 'int')
const string_type = libcrypto('ASN1_STRING_type', 'int', POINTER)
const string_length = libcrypto('ASN1_STRING_length', 'int', POINTER)
const string_data = libcrypto('ASN1_STRING_get0_data', POINTER, POINTER)
const sha256 = libcrypto('EVP_sha256', POINTER)
const copy = libc('memcpy', POINTER, POINTER, POINTER, 'size_t')

// Of openssl/asn1.h and openssl/obj_mac.h.
const V_ASN1_INTEGER = 2
const NID_COMMON_NAME = 13
/** Bytes of a serial number (RFC 5280 section 4.1.2.2), and of SHA-256. */
const MAX_SERIAL = 20
const DIGEST = 32
/** Bytes of a common name that are read, and the zero behind it. RFC 5280 allows 64 characters. */
const NAME = 512

const scratch = new Arena(NAME)

/** Who a certificate is of. */
export interface CertificateIdentity {
  /** Lower-case hexadecimal, two digits a byte. */
  serial: string
  /** The first of its subject; empty when it has none. */
  commonName: string
  /** SHA-256 of its DER, lower-case hexadecimal. */
  fingerprint: string
}

/** @param certificate an `X509 *`. Undefined for one whose serial number no one may issue. */
export function identityOf(certificate: number): CertificateIdentity | undefined {
  const number = Number(serial_number(certificate))
  const length = string_length(number)
  if (string_type(number) !== V_ASN1_INTEGER || length < 1 || length > MAX_SERIAL) return undefined
  copy(scratch.address(0, length), Number(string_data(number)), length)
  const serial = read(length, 'hex')
  const subject = Number(subject_name(certificate))
  const named = name_text(subject, NID_COMMON_NAME, scratch.address(0, NAME), NAME)
  const commonName = read(Math.max(0, named), 'utf8')
  if (digest(certificate, Number(sha256()), scratch.address(0, DIGEST), 0) !== 1)
    throw new SysError('X509_digest', 'ECRYPTO')
  return { serial, commonName, fingerprint: read(DIGEST, 'hex') }
}

function read(length: number, encoding: 'hex' | 'utf8'): string {
  return Buffer.from(scratch.bytes.buffer, 0, length).toString(encoding)
}
