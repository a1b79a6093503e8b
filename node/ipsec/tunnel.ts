// An attachment's record as the IKE daemon of a controller is told of it.
import type { AttachmentValue } from '../../state/kinds.ts'
import type { Home } from '../home.ts'
import type { Tunnel } from './engine.ts'
import { openSecret } from './seal.ts'

/** PEM: this controller's server certificate, what it chains to, and its key. */
export interface IkeCredentials {
  readonly certificate: string
  readonly chain: readonly string[]
  readonly key: string
}

/** By what the two ends of an attachment know each other, where its record does not say: the same for every controller. */
export function identitiesOf(
  meshName: string,
  {
    name,
    localId,
    remoteId,
    authentication,
  }: Pick<AttachmentValue, 'name' | 'localId' | 'remoteId' | 'authentication'>,
): { localId: string | undefined; remoteId: string | undefined } {
  // A certificate says by itself whose it is.
  if (authentication.method === 'certificate') return { localId, remoteId }
  return { localId: localId ?? meshName, remoteId: remoteId ?? name }
}

/** Undefined when its secret cannot be opened: it was not sealed by this mesh. */
export function tunnelOf(
  { mesh, tlsCryptKey }: Pick<Home, 'mesh' | 'tlsCryptKey'>,
  own: IkeCredentials,
  id: string,
  value: AttachmentValue,
  { initiate, takesOver }: Pick<Tunnel, 'initiate' | 'takesOver'>,
): Tunnel | undefined {
  const { authentication } = value
  const secret =
    authentication.method === 'psk' ? openSecret(tlsCryptKey, id, authentication.sealed) : undefined
  if (authentication.method === 'psk' && secret === undefined) return undefined
  const { name, remote, ikeVersion, ikeProposals, espProposals, localSubnets, remoteSubnets } = value
  return {
    ...{
      id,
      name,
      remote,
      ikeVersion,
      ikeProposals,
      espProposals,
      localSubnets,
      remoteSubnets,
      initiate,
      takesOver,
    },
    ...identitiesOf(mesh.value.name, value),
    dpdSeconds: value.dpdSeconds,
    ikeLifetimeSeconds: value.ikeLifetimeSeconds,
    childLifetimeSeconds: value.childLifetimeSeconds,
    encapsulate: value.natTraversal === 'always',
    authentication:
      authentication.method === 'psk'
        ? { method: 'psk', secret: secret! }
        : { method: 'certificate', ...own, remoteAuthority: authentication.remoteAuthority },
  }
}
