// X.509 v3 certificates (RFC 5280) with ECDSA P-256 and SHA-256 (RFC 5758). node-forge writes the ASN.1; it knows no
// elliptic curves, so the public key goes in as node:crypto exports it, and node:crypto signs.
import { createHash, type KeyObject, randomBytes, sign, X509Certificate } from 'node:crypto'
import { parseIpv4, parseIpv6 } from '../net/ip.ts'
import * as der from './der.ts'
import { bits, type Der, encode, integer, octets, oid, sequence, tagged } from './der.ts'
import { PkiError } from './errors.ts'
import { isP256 } from './keys.ts'

/** Fills with random bytes. */
export type Random = (size: number) => Uint8Array

/** A certificate authority that can sign. */
export interface Issuer {
  certificate: X509Certificate
  privateKey: KeyObject
}

/** A certificate that was just made, as X.509 and as PEM. */
export interface Issued {
  certificate: X509Certificate
  pem: string
}

/** Of a subject; in the order in which they are written. */
export type Attributes = Partial<Record<'O' | 'OU' | 'CN' | 'serialNumber', string>>

export type AlternativeName = { dns: string } | { ip: string } | { uri: string }

export type Role =
  /** @param pathLength how many CAs may follow below */
  { kind: 'authority'; pathLength: number } | { kind: 'server' } | { kind: 'client' }

export interface CertificateRequest {
  subject: Attributes
  publicKey: KeyObject
  role: Role
  names: readonly AlternativeName[]
  /** Milliseconds since 1970. */
  now: number
  /** Seconds from `now`. */
  lifetime: number
  /** @default randomBytes of node:crypto */
  random?: Random
}

/** Certificates count from a little earlier, for peers whose clocks are behind. */
export const BACKDATED_SECONDS = 300

const OID = {
  O: '2.5.4.10',
  OU: '2.5.4.11',
  CN: '2.5.4.3',
  serialNumber: '2.5.4.5',
  ecdsaWithSha256: '1.2.840.10045.4.3.2',
  subjectKeyIdentifier: '2.5.29.14',
  keyUsage: '2.5.29.15',
  subjectAltName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  authorityKeyIdentifier: '2.5.29.35',
  extendedKeyUsage: '2.5.29.37',
  serverAuth: '1.3.6.1.5.5.7.3.1',
  clientAuth: '1.3.6.1.5.5.7.3.2',
} as const

/** KeyUsage is a bit string, its first bit the highest: keyCertSign is 5, cRLSign 6, digitalSignature 0. */
const KEY_USAGE = { authority: bits(Uint8Array.of(0x06), 1), leaf: bits(Uint8Array.of(0x80), 7) }

/** GeneralName's tags (RFC 5280 section 4.2.1.6). */
const GENERAL_NAME = { dns: 2, uri: 6, ip: 7 } as const

/** 9999-12-31 is the last day X.509 can name. */
const LAST_MOMENT = Date.UTC(9999, 11, 31, 23, 59, 59)

/** @throws PkiError BAD_ARGUMENT */
export function signedBy(issuer: Issuer, request: CertificateRequest): Issued {
  const { certificate, privateKey } = issuer
  return build(request, { name: subjectOf(certificate), publicKey: certificate.publicKey, privateKey })
}

/** @param privateKey the one of `request.publicKey` */
export function selfSigned(privateKey: KeyObject, request: CertificateRequest): Issued {
  return build(request, { name: nameOf(request.subject), publicKey: request.publicKey, privateKey })
}

function build(
  request: CertificateRequest,
  issuer: { name: Der; publicKey: KeyObject; privateKey: KeyObject },
): Issued {
  if (!isP256(request.publicKey) || request.publicKey.type !== 'public') {
    throw new PkiError('BAD_ARGUMENT', 'a certificate is made for the public half of an EC P-256 key')
  }
  const algorithm = sequence(oid(OID.ecdsaWithSha256))
  const content = sequence(
    der.wrapped(0, integer(2)),
    der.unsigned(newSerial(request.random ?? randomBytes)),
    algorithm,
    issuer.name,
    validity(request.now, request.lifetime),
    nameOf(request.subject),
    der.decode(request.publicKey.export({ type: 'spki', format: 'der' })),
    der.wrapped(3, sequence(...extensions(request, issuer.publicKey))),
  )
  const signature = sign('sha256', encode(content), issuer.privateKey)
  const certificate = new X509Certificate(encode(sequence(content, algorithm, bits(signature))))
  return { certificate, pem: certificate.toString() }
}

/** 126 random bits in a number of exactly 128, positive in ASN.1, so that its text always has 32 digits. */
function newSerial(random: Random): Uint8Array {
  const serial = Uint8Array.from(random(16))
  serial[0] = (serial[0] & 0x3f) | 0x40
  return serial
}

function validity(now: number, lifetime: number): Der {
  const from = now - BACKDATED_SECONDS * 1000
  const to = now + lifetime * 1000
  if (!(lifetime >= 1) || !(from >= 0) || !(to <= LAST_MOMENT)) {
    throw new PkiError(
      'BAD_ARGUMENT',
      `a certificate cannot be valid for ${lifetime} seconds from ${now}; give a lifetime of a second or more`,
    )
  }
  return sequence(der.time(new Date(from)), der.time(new Date(to)))
}

function nameOf(attributes: Attributes): Der {
  const parts = Object.entries(attributes).map(([key, value]) =>
    der.set(sequence(oid(OID[key as keyof Attributes]), der.utf8(value))),
  )
  return sequence(...parts)
}

/** The subject as it stands in the certificate: chains are found by comparing its bytes. */
function subjectOf(certificate: X509Certificate): Der {
  const [content] = der.partsOf(der.decode(certificate.raw))
  // version, serial number, signature algorithm, issuer, validity, subject
  return der.partsOf(content)[5]
}

function extensions(request: CertificateRequest, issuerKey: KeyObject): Der[] {
  const { role } = request
  const own = keyIdentifier(request.publicKey)
  const issuers = keyIdentifier(issuerKey)
  const list = [
    extension(OID.basicConstraints, basicConstraints(role), true),
    extension(OID.keyUsage, role.kind === 'authority' ? KEY_USAGE.authority : KEY_USAGE.leaf, true),
  ]
  if (role.kind !== 'authority') {
    const usage = role.kind === 'server' ? OID.serverAuth : OID.clientAuth
    list.push(extension(OID.extendedKeyUsage, sequence(oid(usage))))
  }
  list.push(
    extension(OID.subjectKeyIdentifier, octets(own)),
    extension(OID.authorityKeyIdentifier, sequence(tagged(0, issuers))),
  )
  if (request.names.length > 0) {
    list.push(extension(OID.subjectAltName, sequence(...request.names.map(generalName))))
  }
  return list
}

const extension = (id: string, value: Der, critical = false): Der =>
  sequence(oid(id), ...(critical ? [der.yes()] : []), octets(encode(value)))

const basicConstraints = (role: Role): Der =>
  role.kind === 'authority' ? sequence(der.yes(), integer(role.pathLength)) : sequence()

function generalName(name: AlternativeName): Der {
  if ('uri' in name) return tagged(GENERAL_NAME.uri, Buffer.from(name.uri, 'latin1'))
  if ('dns' in name) return tagged(GENERAL_NAME.dns, Buffer.from(name.dns, 'latin1'))
  return tagged(GENERAL_NAME.ip, addressBytes(name.ip))
}

function addressBytes(text: string): Uint8Array {
  const v4 = parseIpv4(text)
  if (v4 !== undefined) return Uint8Array.of(v4 >>> 24, v4 >>> 16, v4 >>> 8, v4)
  const v6 = parseIpv6(text)
  if (v6 !== undefined) return v6
  throw new PkiError('BAD_ARGUMENT', `"${text.slice(0, 80)}" is no IP address`)
}

/** The leftmost 160 bits of SHA-256 over the key's bit string (RFC 7093 section 2, method 1). */
function keyIdentifier(publicKey: KeyObject): Buffer {
  const [, key] = der.partsOf(der.decode(publicKey.export({ type: 'spki', format: 'der' })))
  // A bit string's first byte counts its unused bits.
  return createHash('sha256').update(der.bytesOf(key).subarray(1)).digest().subarray(0, 20)
}
