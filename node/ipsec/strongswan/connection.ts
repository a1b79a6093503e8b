// A tunnel as the daemon knows it: the messages of load-conn, load-shared, load-cert and load-key. Keys of a connection:
// https://docs.strongswan.org/docs/latest/swanctl/swanctlConf.html
import type { Tunnel } from '../engine.ts'
import type { ViciMessage } from '../vici/message.ts'
import { RETRANSMIT } from './configuration.ts'
import { defaultEspProposals, defaultIkeProposals } from './proposals.ts'

/** Of its lifetime, the part after which an SA is rekeyed at the latest, and how much sooner it may be. */
const REKEY_PART = 0.9
const RANDOM_PART = 0.1
/** Child SAs of one IKEv1 tunnel, which needs one for each pair of subnets. */
const MAX_CHILDREN = 64
/** Silence after which an IKEv1 peer is dead, beyond the time between two probes; IKEv2 judges by retransmission. */
const IKE1_DPD_SECONDS = Math.round(
  (RETRANSMIT.timeout * (RETRANSMIT.base ** (RETRANSMIT.tries + 1) - 1)) / (RETRANSMIT.base - 1),
)

/** Where a device was last seen. */
export interface Peer {
  readonly host: string
  readonly port: number
}

/** The names that a remote end may bear; none: any. */
export type Names = readonly string[]

const seconds = (value: number): string => `${Math.max(1, Math.round(value))}s`

/** Names of its child SAs' configurations. */
export function childNames(tunnel: Tunnel): string[] {
  return pairs(tunnel).map((_, index) => `${tunnel.id}-${index + 1}`)
}

/** IKEv2 has all subnets in one child SA, IKEv1 one pair in each. */
function pairs({ ikeVersion, localSubnets, remoteSubnets }: Tunnel): { local: Names; remote: Names }[] {
  if (ikeVersion === 2) return [{ local: localSubnets, remote: remoteSubnets }]
  return localSubnets
    .flatMap(local => remoteSubnets.map(remote => ({ local: [local], remote: [remote] })))
    .slice(0, MAX_CHILDREN)
}

/**
 * The daemon never dials by itself: which tunnel is dialled, and when again, is decided here (see dialer.ts).
 * @param addresses those that the remote end's host name has: one at least, if it is given by name and not by `peer`
 * @param peer where the device was last seen, for a connection that only goes there
 */
export function connectionMessage(tunnel: Tunnel, name: string, addresses: Names, peer?: Peer): ViciMessage {
  const { ikeVersion, authentication, dpdSeconds, ikeLifetimeSeconds, childLifetimeSeconds } = tunnel
  const certificate = authentication.method === 'certificate' ? authentication : undefined
  const auth = certificate ? 'pubkey' : 'psk'
  const children = pairs(tunnel).map(({ local, remote }, index) => [
    `${tunnel.id}-${index + 1}`,
    {
      mode: 'tunnel',
      local_ts: local,
      remote_ts: remote,
      esp_proposals: orDefault(tunnel.espProposals, defaultEspProposals(ikeVersion)),
      life_time: seconds(childLifetimeSeconds),
      rekey_time: seconds(childLifetimeSeconds * REKEY_PART),
      rand_time: seconds(childLifetimeSeconds * RANDOM_PART),
      start_action: 'none',
      close_action: 'none',
      dpd_action: 'clear',
    },
  ])
  return {
    [name]: {
      version: String(ikeVersion),
      remote_addrs: peer ? [peer.host] : isHostName(tunnel.remote) ? addresses : [tunnel.remote],
      ...(peer && peer.port !== 500 ? { remote_port: String(peer.port), local_port: '4500' } : {}),
      proposals: orDefault(tunnel.ikeProposals, defaultIkeProposals(ikeVersion)),
      // A device that dials again whenever an SA of its own is ended, as from an exported file, would do so for ever if each new one
      // ended those before. One that says that it begins anew (INITIAL_CONTACT) still ends them, and dead ones are noticed.
      unique: ikeVersion === 2 ? 'no' : 'replace',
      mobike: 'yes',
      encap: tunnel.encapsulate ? 'yes' : 'no',
      fragmentation: 'yes',
      keyingtries: '0',
      dpd_delay: `${dpdSeconds}s`,
      ...(ikeVersion === 1 && dpdSeconds > 0 ? { dpd_timeout: seconds(dpdSeconds + IKE1_DPD_SECONDS) } : {}),
      rekey_time: seconds(ikeLifetimeSeconds * REKEY_PART),
      over_time: seconds(ikeLifetimeSeconds * (1 - REKEY_PART)),
      rand_time: seconds(ikeLifetimeSeconds * RANDOM_PART),
      reauth_time: '0s',
      ...(certificate ? { send_cert: 'always' } : {}),
      local: {
        auth,
        id: tunnel.localId,
        ...(certificate ? { certs: [certificate.certificate] } : {}),
      },
      remote: {
        auth,
        id: tunnel.remoteId ?? (isAddress(tunnel.remote) && !certificate ? tunnel.remote : undefined),
        ...(certificate ? { cacerts: [certificate.remoteAuthority] } : {}),
      },
      children: Object.fromEntries(children),
    },
  }
}

const orDefault = (chosen: Names, fallback: Names): Names => (chosen.length > 0 ? chosen : fallback)

/** The names under which a device proves that it knows the secret. @param addresses those that its host name has */
export function secretOwners(tunnel: Tunnel, addresses: Names): Names {
  if (tunnel.remoteId !== undefined) return [tunnel.remoteId]
  if (tunnel.remote === '%any') return ['%any']
  return [tunnel.remote, ...addresses]
}

export const isAddress = (host: string): boolean => /^[\d.]+$/.test(host) || host.includes(':')

/** A remote end that is given by a name. */
export const isHostName = (remote: string): boolean => remote !== '%any' && !isAddress(remote)

/** It takes devices from anywhere, under any name. */
export const isWild = ({ remote, remoteId }: Tunnel): boolean =>
  remote === '%any' && (remoteId === undefined || remoteId === '%any')

/**
 * Tunnels of one list that the daemon could not tell from another: a device with the secret of one would be taken for the other.
 * A device that may bear any name must be the only one that dials in to that local identity; IKEv1 looks for the secret
 * before it knows a name, by addresses alone; and one name at one address, or at any, is one device.
 * @returns for each of them the name of the other
 */
export function indistinct(tunnels: readonly Tunnel[]): Map<string, string> {
  const first = new Map<string, Tunnel>()
  const found = new Map<string, string>()
  const anywhere = tunnels.filter(
    ({ remote, authentication }) => remote === '%any' && authentication.method === 'psk',
  )
  // Those with a name come first, so that who has none cannot take their place.
  for (const tunnel of [...anywhere.filter(each => !isWild(each)), ...anywhere.filter(isWild)]) {
    const { ikeVersion, localId, id } = tunnel
    const group = ikeVersion === 1 ? '1' : `2 ${localId ?? ''}`
    const other = first.get(group)
    if (other === undefined) first.set(group, tunnel)
    else if (ikeVersion === 1 || isWild(tunnel)) found.set(id, other.name)
  }
  const namesakes = Map.groupBy(tunnels, deviceOf)
  for (const same of namesakes.values())
    for (const [index, { id, remote }] of same.entries()) {
      const other = same.slice(0, index).find(each => isSamePlace(each.remote, remote))
      if (other !== undefined && !found.has(id)) found.set(id, other.name)
    }
  return found
}

/** How the daemon knows a device: by its name, or by the authority that vouches for any name. */
function deviceOf({ localId = '', remoteId, authentication, id }: Tunnel): string {
  if (remoteId !== undefined) return JSON.stringify([localId, remoteId])
  return JSON.stringify([
    localId,
    authentication.method === 'psk' ? { id } : authentication.remoteAuthority,
    '',
  ])
}

/** Whether a device may be at both. */
export const isSamePlace = (a: string, b: string): boolean => a === b || a === '%any' || b === '%any'
