// The credential of a client: a certificate bound to one overlay address.
import type { KeyObject, X509Certificate } from 'node:crypto'
import type { Serial } from '../../state/kinds.ts'
import { parseIpv4 } from '../net/ip.ts'
import { meshNameOf } from './authority.ts'
import { type Issued, type Issuer, type Random, signedBy } from './certificate.ts'
import { PkiError } from './errors.ts'
import { checkClientId, checkName, clientUri, fingerprintOf, serialOf } from './names.ts'

export interface ClientCertificateRequest {
  clientId: string
  clientName: string
  /** Overlay address, dotted quad. */
  address: string
  /** EC P-256. */
  publicKey: KeyObject
  /** Milliseconds since 1970. */
  now: number
  /** Seconds. */
  lifetime: number
  /** Makes the serial number. @default randomBytes of node:crypto */
  random?: Random
}

export interface ClientCertificate extends Issued {
  certificate: X509Certificate
  serial: Serial
  /** SHA-256 of the DER, lower-case hex. */
  fingerprint: string
  /** End of validity, milliseconds since 1970. */
  notAfter: number
}

/** @throws PkiError BAD_ARGUMENT */
export function issueClientCertificate(issuer: Issuer, request: ClientCertificateRequest): ClientCertificate {
  const { clientId, clientName, address, publicKey, now, lifetime, random } = request
  checkClientId(clientId)
  checkName('client', clientName)
  if (parseIpv4(address) === undefined) {
    throw new PkiError('BAD_ARGUMENT', `"${address.slice(0, 80)}" is no overlay address`)
  }
  const issued = signedBy(issuer, {
    subject: { O: meshNameOf(issuer), CN: clientName },
    publicKey,
    role: { kind: 'client' },
    names: [{ ip: address }, { uri: clientUri(clientId) }],
    now,
    lifetime,
    random,
  })
  const { certificate } = issued
  return {
    ...issued,
    serial: serialOf(certificate),
    fingerprint: fingerprintOf(certificate),
    notAfter: certificate.validToDate.getTime(),
  }
}
