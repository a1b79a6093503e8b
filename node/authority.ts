// The key of the mesh root, moved off the machine and back.
import { X509Certificate } from 'node:crypto'
import { DataDirectory } from './data-directory.ts'
import { checkKeyOf, formatPrivateKey, parsePrivateKey } from './pki/keys.ts'
import { exportRootKey, importRootKey } from './pki/root-key.ts'
import { ServiceError } from './service.ts'

/** The key, encrypted with the passphrase: PKCS#8, PEM. The one in the data directory stays. */
export async function exportAuthority(request: { dataDir: string; passphrase: string }): Promise<string> {
  const directory = new DataDirectory(request.dataDir)
  await directory.readConfig()
  const pem = await directory.readIfThere(directory.rootKey)
  if (pem === undefined) {
    throw new ServiceError(
      'not-found',
      `the key of the mesh root is not in ${request.dataDir}; it is where it was moved to`,
    )
  }
  return exportRootKey(parsePrivateKey(pem), request.passphrase)
}

/** Puts the key back, if it is the one of this mesh. */
export async function importAuthority(request: {
  dataDir: string
  pem: string
  passphrase: string
}): Promise<void> {
  const directory = new DataDirectory(request.dataDir)
  await directory.readConfig()
  const root = new X509Certificate(await directory.read(directory.rootCertificate))
  const key = importRootKey(request.pem, request.passphrase)
  checkKeyOf(root, key, 'the mesh root')
  await directory.write(directory.rootKey, formatPrivateKey(key))
}
