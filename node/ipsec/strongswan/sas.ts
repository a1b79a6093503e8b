// What list-sas and the events of strongSwan's VICI say of IKE and child SAs.
import type { ChildSa, IkeSa } from '../engine.ts'
import { listOf, sectionsOf, textOf, type ViciSection } from '../vici/message.ts'

/** States of a child SA that carries packets (child_sa_state_t). */
const CARRYING = new Set(['INSTALLED', 'REKEYING', 'UPDATING'])

/** Connections that dial a device where it was last seen bear the tunnel's id and this. */
const RETURN_SUFFIX = '.back'

export const returnName = (tunnel: string): string => `${tunnel}${RETURN_SUFFIX}`
export const tunnelOfName = (connection: string): string =>
  connection.endsWith(RETURN_SUFFIX) ? connection.slice(0, -RETURN_SUFFIX.length) : connection

export const isCarrying = (child: ViciSection): boolean => CARRYING.has(textOf(child, 'state') ?? '')

/** The children in an IKE SA's section, each under a name of its own. */
export function childrenOf(ike: ViciSection): ViciSection[] {
  const children = ike['child-sas']
  return typeof children === 'object' && !Array.isArray(children)
    ? sectionsOf(children as ViciSection).map(([, child]) => child)
    : []
}

/** Of the child SAs in the section of an IKE SA, or of those that came by a rekey. */
export function inboundSpis(ike: ViciSection): string[] {
  return childrenOf(ike).flatMap(child => {
    const { new: come } = child as Record<string, ViciSection | undefined>
    return textOf(child, 'spi-in') ?? textOf(come, 'spi-in') ?? []
  })
}

/** @param connection its name @param ike the section under that name */
export function readIkeSa(connection: string, ike: ViciSection): IkeSa {
  const text = (name: string): string => textOf(ike, name) ?? ''
  return {
    tunnel: tunnelOfName(connection),
    uniqueId: text('uniqueid'),
    state: text('state'),
    version: text('version') === '1' ? 1 : 2,
    initiator: text('initiator') === 'yes',
    localHost: endpoint(text('local-host'), text('local-port')),
    remoteHost: endpoint(text('remote-host'), text('remote-port')),
    localId: text('local-id'),
    remoteId: text('remote-id'),
    encryption: cipher(ike, ['prf-alg', 'dh-group']),
    nat: text('nat-any') === 'yes',
    ageSeconds: count(ike, 'established'),
    rekeySeconds: count(ike, 'rekey-time') ?? count(ike, 'reauth-time'),
    children: childrenOf(ike).map(readChildSa),
  }
}

function readChildSa(child: ViciSection): ChildSa {
  const text = (name: string): string => textOf(child, name) ?? ''
  return {
    name: text('name'),
    state: text('state'),
    spiIn: text('spi-in'),
    spiOut: text('spi-out'),
    encryption: cipher(child, ['dh-group']),
    localSubnets: listOf(child, 'local-ts'),
    remoteSubnets: listOf(child, 'remote-ts'),
    bytesIn: count(child, 'bytes-in') ?? 0,
    bytesOut: count(child, 'bytes-out') ?? 0,
    packetsIn: count(child, 'packets-in') ?? 0,
    packetsOut: count(child, 'packets-out') ?? 0,
    ageSeconds: count(child, 'install-time') ?? 0,
    rekeySeconds: count(child, 'rekey-time'),
    lifeSeconds: count(child, 'life-time'),
  }
}

/** A number that is one; undefined otherwise. */
function count(section: ViciSection, name: string): number | undefined {
  const text = textOf(section, name)
  if (text === undefined || !/^-?\d{1,15}$/.test(text)) return undefined
  return Math.max(0, Number(text))
}

const endpoint = (host: string, port: string): string =>
  host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`

/** In strongSwan's own notation: AES_GCM_16-256/PRF_HMAC_SHA2_384/ECP_384. */
function cipher(section: ViciSection, further: readonly string[]): string {
  const sized = (kind: string): string | undefined => {
    const name = textOf(section, `${kind}-alg`)
    const size = textOf(section, `${kind}-keysize`)
    return name && size ? `${name}-${size}` : name
  }
  const parts = [sized('encr'), sized('integ'), ...further.map(name => textOf(section, name))]
  return parts.filter(part => part !== undefined && part !== '').join('/')
}

/** Something is tried already that may bring the tunnel up. */
export function isUnderWay(ike: ViciSection): boolean {
  const state = textOf(ike, 'state')
  if (state === 'CREATED' || state === 'CONNECTING') return true
  const busy = listOf(ike, 'tasks-active').length + listOf(ike, 'tasks-queued').length
  return state === 'ESTABLISHED' && busy > 0
}
