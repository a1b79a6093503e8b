// The certificate authorities of a mesh: the root, which admits controllers, and the issuing CA of each controller,
// which signs its server certificate and the credentials of clients.
import type { KeyObject } from 'node:crypto'
import { type Issued, type Issuer, type Random, selfSigned, signedBy } from './certificate.ts'
import { PkiError } from './errors.ts'
import { newPrivateKey, publicKeyOf } from './keys.ts'
import { checkControllerId, checkMesh, checkName, controllerUri } from './names.ts'

export interface MeshRootRequest {
  meshName: string
  meshId: string
  /** Milliseconds since 1970. */
  now: number
  /** Seconds. */
  lifetime: number
  random?: Random
}

/** A new mesh root: its key and self-signed certificate. @throws PkiError BAD_ARGUMENT */
export function createMeshRoot(request: MeshRootRequest): Issued & Issuer {
  const { meshName, meshId, now, lifetime, random } = request
  checkMesh(meshName, meshId)
  const privateKey = newPrivateKey()
  const issued = selfSigned(privateKey, {
    subject: { O: meshName, CN: `mesh root ${meshId}` },
    publicKey: publicKeyOf(privateKey),
    role: { kind: 'authority', pathLength: 1 },
    names: [],
    now,
    lifetime,
    random,
  })
  return { ...issued, privateKey }
}

export interface IssuingCaRequest {
  controllerId: string
  controllerName: string
  /** EC P-256. */
  publicKey: KeyObject
  /** Milliseconds since 1970. */
  now: number
  /** Seconds; ends with the root at the latest. */
  lifetime: number
  random?: Random
}

/**
 * The certificate of a controller's issuing CA. To renew one, ask again with the same key, id and name: what it signed
 * before then chains to the new certificate too.
 * @throws PkiError BAD_ARGUMENT, EXPIRED when the root's validity is over
 */
export function issueIssuingCa(root: Issuer, request: IssuingCaRequest): Issued {
  const { controllerId, controllerName, publicKey, now, lifetime, random } = request
  checkControllerId(controllerId)
  checkName('controller', controllerName)
  const left = Math.floor((root.certificate.validToDate.getTime() - now) / 1000)
  if (left < 1)
    throw new PkiError('EXPIRED', 'the certificate of the mesh root has expired; a new mesh is needed')
  return signedBy(root, {
    subject: { O: meshNameOf(root), CN: controllerName, serialNumber: controllerId },
    publicKey,
    role: { kind: 'authority', pathLength: 0 },
    names: [{ uri: controllerUri(controllerId) }],
    now,
    lifetime: Math.min(lifetime, left),
    random,
  })
}

/** The mesh an authority belongs to, as its subject says. @throws PkiError UNREADABLE */
export function meshNameOf({ certificate }: Pick<Issuer, 'certificate'>): string {
  const match = /^O=([a-z0-9._-]+)$/m.exec(certificate.subject)
  if (!match) throw new PkiError('UNREADABLE', 'the certificate of the authority names no mesh')
  return match[1]
}
