// The certificate that a controller's API over TCP shows. Another one than that of the VPN: its subject is none that a
// client of the VPN would take for a controller.
import type { KeyObject } from 'node:crypto'
import { meshNameOf } from './authority.ts'
import { type Issued, type Issuer, type Random, signedBy } from './certificate.ts'
import { PkiError } from './errors.ts'
import { checkName, controllerIdOf, controllerUri } from './names.ts'
import { hostName, MAX_HOSTS } from './server.ts'

export interface ApiCertificateRequest {
  controllerName: string
  /** EC P-256. */
  publicKey: KeyObject
  /** Host names and addresses, the most important first: the certificate is for the first 64. */
  hosts: readonly string[]
  /** Milliseconds since 1970. */
  now: number
  /** Seconds. */
  lifetime: number
  random?: Random
}

/** @throws PkiError BAD_ARGUMENT */
export function issueApiCertificate(issuer: Issuer, request: ApiCertificateRequest): Issued {
  const { controllerName, publicKey, hosts, now, lifetime, random } = request
  checkName('controller', controllerName)
  const controllerId = controllerIdOf(issuer.certificate)
  if (controllerId === undefined) throw new PkiError('UNREADABLE', 'the issuing CA names no controller')
  return signedBy(issuer, {
    subject: { O: meshNameOf(issuer), OU: controllerName, CN: 'Overmesh API' },
    publicKey,
    role: { kind: 'server' },
    names: [{ uri: controllerUri(controllerId) }, ...[...new Set(hosts)].slice(0, MAX_HOSTS).map(hostName)],
    now,
    lifetime,
    random,
  })
}
