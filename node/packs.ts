// Clientpacks: what a client is given, put together from its credential and the controllers of the mesh.
import { X509Certificate } from 'node:crypto'
import type { ClientView } from '../state/views.ts'
import type { ClientSecret } from './client-secrets.ts'
import type { Home } from './home.ts'
import { remotesOf } from './pack-list.ts'
import { makeArchive } from './pki/archive.ts'
import { type ClientpackRequest, formatClientpack } from './pki/clientpack.ts'
import { parsePrivateKey } from './pki/keys.ts'
import { makePkcs12 } from './pki/pkcs12.ts'
import { exceptionProblem, parseException, type SealException } from './seal/exceptions.ts'
import type { PackFormat, PackOptions } from './service.ts'
import { ServiceError } from './service-error.ts'

/**
 * @param password of the PKCS#12 file, none if absent
 * @param allow exceptions of the seal in a zip, as {@link parseException} reads them
 */
export function packContent(
  home: Home,
  client: ClientView,
  secret: ClientSecret,
  format: PackFormat,
  { password, allow = [] }: Pick<PackOptions, 'password' | 'allow'> = {},
): Uint8Array {
  const request = packRequest(home, client, secret)
  switch (format) {
    case 'ovpn':
      return Buffer.from(formatClientpack(request))
    case 'p12':
      return pkcs12(request, password)
    case 'zip':
      return makeArchive(request, pkcs12(request, password), allow.map(readException))
  }
}

function readException(text: string): SealException {
  const exception = parseException(text)
  if (exception) return exception
  throw new ServiceError(
    'invalid',
    `"${text.slice(0, 80)}" is no exception of a seal; ${exceptionProblem(text)}`,
  )
}

function packRequest(home: Home, client: ClientView, secret: ClientSecret): ClientpackRequest {
  const { mesh, controller, replica, config, rootCertificate } = home
  const issuer = replica.get('controller', client.value.issuer)
  return {
    meshName: mesh.value.name,
    meshId: mesh.id,
    clientName: client.value.name,
    address: client.value.address,
    madeBy: config.controller,
    madeAt: Date.now(),
    expiresAt: client.value.expiresAt,
    serial: client.value.serial,
    remotes: remotesOf(home, client),
    root: rootCertificate,
    certificate: secret.certificate,
    chain: (issuer ?? controller).certificateChain,
    privateKey: secret.privateKey,
    tlsCryptV2: secret.tlsCryptV2,
  }
}

function pkcs12(request: ClientpackRequest, password: string | undefined): Uint8Array {
  return makePkcs12({
    name: request.clientName,
    privateKey: parsePrivateKey(request.privateKey),
    certificate: new X509Certificate(request.certificate),
    chain: [new X509Certificate(request.chain), new X509Certificate(request.root)],
    password,
  })
}
