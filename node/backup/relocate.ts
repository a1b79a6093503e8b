// A controller that is restored on another machine: where it listens, and where it is dialled from now on.
import { createPublicKey, X509Certificate } from 'node:crypto'
import { Value } from 'typebox/value'
import { parseCidr } from '../../state/address.ts'
import { parseCidr6 } from '../../state/address6.ts'
import type { ControllerValue, MeshValue } from '../../state/kinds.ts'
import { Config, type DataDirectory } from '../data-directory.ts'
import { checkDialable } from '../dialable.ts'
import { meshEndpointsOf, publicEndpointsOf } from '../mesh-endpoints.ts'
import { parseHostPort } from '../net/ip.ts'
import { formatPrivateKey, newPrivateKey, parsePrivateKey } from '../pki/keys.ts'
import { issueServerCertificate } from '../pki/server.ts'
import { DEFAULT_PORT } from '../push.ts'
import { BackupError } from './error.ts'

/** As `init` takes them; what is absent stays as it was. */
export interface Relocation {
  readonly public?: readonly string[]
  readonly listen?: readonly string[]
  readonly meshListen?: string
}

export function relocatedConfig(text: Uint8Array, { listen, meshListen }: Relocation): Config {
  let config: unknown
  try {
    config = JSON.parse(Buffer.from(text).toString('utf8'))
  } catch {
    // Said below.
  }
  if (!Value.Check(Config, config))
    throw new BackupError('damaged', 'the configuration in the backup cannot be read; use another one')
  return {
    ...config,
    ...(listen && { listen: [...listen] }),
    ...(meshListen !== undefined && { meshListen }),
  }
}

/** The record of the controller as it is to be; undefined when nothing of it changes. @throws ServiceError for what nobody can dial */
export function relocatedRecord(
  own: ControllerValue,
  { subnet, subnet6 }: MeshValue,
  config: Config,
  { public: told, meshListen }: Relocation,
): ControllerValue | undefined {
  if (told === undefined && meshListen === undefined) return undefined
  const publicEndpoints =
    told === undefined ? [...own.publicEndpoints] : publicEndpointsOf(told, config.listen)
  if (told !== undefined)
    checkDialable(publicEndpoints, {
      subnet: parseCidr(subnet)!,
      subnet6: subnet6 === undefined ? undefined : parseCidr6(subnet6),
    })
  return { ...own, publicEndpoints, meshEndpoints: meshEndpointsOf(config.meshListen, publicEndpoints) }
}

/** Its server certificate names the hosts that are dialled. */
export async function certifyHosts(
  directory: DataDirectory,
  mesh: { id: string; value: MeshValue },
  own: ControllerValue,
  config: Config,
): Promise<void> {
  const key = newPrivateKey()
  const { pem } = issueServerCertificate(
    {
      certificate: new X509Certificate(own.certificateChain),
      privateKey: parsePrivateKey(await directory.read(directory.issuingKey)),
    },
    {
      meshName: mesh.value.name,
      meshId: mesh.id,
      controllerName: config.controller,
      publicKey: createPublicKey(key),
      hosts: own.publicEndpoints.map(text => parseHostPort(text, DEFAULT_PORT).host),
      now: Date.now(),
      lifetime: config.lifetimes.server,
    },
  )
  await directory.write(directory.serverKey, formatPrivateKey(key))
  await directory.write(directory.serverCertificate, pem)
}
