// The certificate with which a controller shows clients that it belongs to their mesh.
import type { KeyObject } from 'node:crypto'
import { parseIpv4, parseIpv6 } from '../net/ip.ts'
import { meshNameOf } from './authority.ts'
import { type AlternativeName, type Issued, type Issuer, type Random, signedBy } from './certificate.ts'
import { PkiError } from './errors.ts'
import { checkName, controllerIdOf, controllerUri, serverCommonName } from './names.ts'

export interface ServerCertificateRequest {
  meshName: string
  meshId: string
  controllerName: string
  /** EC P-256. */
  publicKey: KeyObject
  /** Host names and addresses that clients dial. */
  hosts: readonly string[]
  /** Milliseconds since 1970. */
  now: number
  /** Seconds. */
  lifetime: number
  random?: Random
}

/** More would not fit into one flight of the TLS handshake. */
export const MAX_HOSTS = 64
const HOST_NAME =
  /^(?=.{1,253}$)[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)*$/i

/** @throws PkiError BAD_ARGUMENT */
export function issueServerCertificate(issuer: Issuer, request: ServerCertificateRequest): Issued {
  const { meshName, meshId, controllerName, publicKey, hosts, now, lifetime, random } = request
  checkName('controller', controllerName)
  if (meshNameOf(issuer) !== meshName) {
    throw new PkiError('BAD_ARGUMENT', `the issuing CA is not one of the mesh ${meshName}`)
  }
  if (hosts.length > MAX_HOSTS) {
    throw new PkiError('BAD_ARGUMENT', `a server certificate names at most ${MAX_HOSTS} hosts`)
  }
  const controllerId = controllerIdOf(issuer.certificate)
  if (controllerId === undefined) throw new PkiError('UNREADABLE', 'the issuing CA names no controller')
  return signedBy(issuer, {
    subject: { O: meshName, OU: controllerName, CN: serverCommonName(meshName, meshId) },
    publicKey,
    role: { kind: 'server' },
    names: [{ uri: controllerUri(controllerId) }, ...[...new Set(hosts)].map(hostName)],
    now,
    lifetime,
    random,
  })
}

export function hostName(host: string): AlternativeName {
  if (parseIpv4(host) !== undefined || parseIpv6(host) !== undefined) return { ip: host }
  if (HOST_NAME.test(host)) return { dns: host.toLowerCase() }
  throw new PkiError('BAD_ARGUMENT', `"${host.slice(0, 80)}" is neither an address nor a host name`)
}
