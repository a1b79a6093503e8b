// How certificates name meshes, controllers and clients, and what is read back from them.
import type { X509Certificate } from 'node:crypto'
import { type ClientId, type ControllerId, isName, parseSerial, type Serial } from '../../state/kinds.ts'
import { type OverlayAddress, parseIpv4 } from '../net/ip.ts'
import { PkiError } from './errors.ts'

const CONTROLLER_URI = 'overmesh:controller:'
const CLIENT_URI = 'overmesh:client:'
const CONTROLLER_ID = /^[0-9a-f]{20}$/
const CLIENT_ID = /^[0-9a-f]{16}$/
const MESH_ID = /^[0-9a-f]{16,40}$/

/** Upper bound of a common name (RFC 5280 appendix A, ub-common-name). */
const MAX_COMMON_NAME = 64
const MESH_ID_DIGITS = 16

/**
 * The common name of every controller's server certificate in one mesh: clients compare it (openvpn(8),
 * `verify-x509-name NAME name`), so that they take any controller of theirs and none of another mesh. A long mesh name
 * is cut, its id is what tells meshes apart.
 */
export function serverCommonName(meshName: string, meshId: string): string {
  checkMesh(meshName, meshId)
  return `${meshName.slice(0, MAX_COMMON_NAME - 1 - MESH_ID_DIGITS)}.${meshId.slice(0, MESH_ID_DIGITS)}`
}

export const controllerUri = (id: string): string => CONTROLLER_URI + id
export const clientUri = (id: string): string => CLIENT_URI + id

/** The serial number in the form of the state: lower-case hex without leading zeros. @throws PkiError when it has none */
export function serialOf(certificate: X509Certificate): Serial {
  const serial = parseSerial(certificate.serialNumber)
  if (serial === undefined) throw new PkiError('UNREADABLE', 'the certificate has no usable serial number')
  return serial
}

/** SHA-256 over the DER, lower-case hex. */
export function fingerprintOf(certificate: X509Certificate): string {
  return certificate.fingerprint256.replaceAll(':', '').toLowerCase()
}

/** The overlay address a client certificate is bound to; undefined unless it names exactly one. */
export function overlayAddressOf(certificate: X509Certificate): OverlayAddress | undefined {
  const text = onlyName(certificate, 'IP Address:')
  return text === undefined ? undefined : parseIpv4(text)
}

/** The client a certificate was issued to; undefined unless it names exactly one. */
export function clientIdOf(certificate: X509Certificate): ClientId | undefined {
  const id = onlyName(certificate, `URI:${CLIENT_URI}`)
  return id !== undefined && CLIENT_ID.test(id) ? (id as ClientId) : undefined
}

/** The controller an issuing CA or server certificate belongs to; undefined unless it names exactly one. */
export function controllerIdOf(certificate: X509Certificate): ControllerId | undefined {
  const id = onlyName(certificate, `URI:${CONTROLLER_URI}`)
  return id !== undefined && CONTROLLER_ID.test(id) ? (id as ControllerId) : undefined
}

function onlyName(certificate: X509Certificate, prefix: string): string | undefined {
  const text = certificate.subjectAltName ?? ''
  // Node quotes a name that could be taken for more than one: none of ours.
  if (text.includes('"')) return undefined
  const names = text.split(', ').filter(name => name.startsWith(prefix))
  return names.length === 1 ? names[0].slice(prefix.length) : undefined
}

/** @throws PkiError */
export function checkName(what: string, name: string): void {
  if (!isName(name)) {
    throw new PkiError(
      'BAD_ARGUMENT',
      `"${name.slice(0, 80)}" is no name for a ${what}; use lower-case letters, digits, "-", "." and "_"`,
    )
  }
}

/** @throws PkiError */
export function checkMesh(meshName: string, meshId: string): void {
  checkName('mesh', meshName)
  if (!MESH_ID.test(meshId)) throw new PkiError('BAD_ARGUMENT', `"${meshId.slice(0, 80)}" is no mesh id`)
}

/** @throws PkiError */
export function checkControllerId(id: string): void {
  if (!CONTROLLER_ID.test(id)) throw new PkiError('BAD_ARGUMENT', `"${id.slice(0, 80)}" is no controller id`)
}

/** @throws PkiError */
export function checkClientId(id: string): void {
  if (!CLIENT_ID.test(id)) throw new PkiError('BAD_ARGUMENT', `"${id.slice(0, 80)}" is no client id`)
}
