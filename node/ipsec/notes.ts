// What comes of an attachment beyond what its operator asked for: one line each.
import {
  cidrContains,
  cidrCovers,
  cidrOverlaps,
  formatCidr,
  parseCidr,
  parseIpv4,
} from '../../state/address.ts'
import type { AttachmentValue } from '../../state/kinds.ts'
import type { RouteEntry } from '../../state/routing-table.ts'
import type { Home } from '../home.ts'
import { isShort, readSecret, weakAlgorithms } from './check.ts'
import type { IkeSa } from './engine.ts'
import { attachmentNames } from './names.ts'

/** Prefixes named in one line at most. */
const MAX_NAMED = 3

/** When it is added or changed. @param secret what was given, base64 */
export function writtenNotes(
  home: Home,
  id: string,
  value: AttachmentValue,
  secret: string | undefined,
): string[] {
  const notes = overlapNotes(home, id, value)
  const weak = weakAlgorithms([...value.ikeProposals, ...value.espProposals])
  if (weak.length > 0)
    notes.push(`${weak.join(', ')} can be broken today; use them for a device that has nothing else`)
  if (value.ikeVersion === 1) notes.push('IKE version 1 is for devices that have nothing else')
  if (secret !== undefined && isShort(readSecret(secret)))
    notes.push(
      'the pre-shared key is short: one of 32 random characters cannot be guessed (openssl rand -base64 24)',
    )
  return notes
}

/** Of a device that dials. */
export const newSecretNote = (name: string): string =>
  `the device has to have the new key, too; one that was refused meanwhile may not dial again by itself: \`ipsec down ${name}\` and \`ipsec up ${name}\` call it where it was`

/** Networks that the device did not agree to, while it is up: IKEv2 narrows selectors to what both ends have. */
export function narrowedNotes(
  { localSubnets, remoteSubnets }: AttachmentValue,
  sas: readonly IkeSa[],
): string[] {
  const children = sas.flatMap(sa => sa.children)
  if (children.length === 0) return []
  const isAgreed = (side: 'localSubnets' | 'remoteSubnets') => (text: string) =>
    children.some(child =>
      child[side].some(each => {
        const agreed = parseCidr(each)
        return agreed !== undefined && cidrCovers(agreed, parseCidr(text)!)
      }),
    )
  return [
    ...remoteSubnets.filter(text => !isAgreed('remoteSubnets')(text)).map(text => `${text} there`),
    ...localSubnets.filter(text => !isAgreed('localSubnets')(text)).map(text => `${text} here`),
  ].map(text => `the device did not agree to all of ${text}: what it has is less`)
}

/** Whose networks overlap which, and who wins; for as long as it is so. */
export function overlapNotes(home: Home, id: string, value: AttachmentValue): string[] {
  const { mesh, views, replica } = home
  const notes: string[] = []
  const isOwn = (via: RouteEntry['via']) => via.kind === 'attachment' && via.id === id
  const routes = views
    .prefixes()
    .filter(({ source, via }) => source === 'subnet' || (source === 'route' && !isOwn(via)))
  const names = attachmentNames(replica)
  const sites = [...replica.all('attachment')]
    .filter(each => each.id !== id)
    .flatMap(each =>
      each.value.remoteSubnets.map(text => ({ cidr: parseCidr(text)!, name: names.get(each.id)! })),
    )
  for (const text of value.remoteSubnets) {
    const cidr = parseCidr(text)!
    if (cidrCovers(cidr, mesh.subnet))
      notes.push(
        `the overlay's own subnet ${formatCidr(mesh.subnet)} lies within ${text} and stays the overlay`,
      )
    const other = routes.find(each => cidrOverlaps(each.cidr, cidr))
    if (other)
      notes.push(
        `${text} overlaps ${formatCidr(other.cidr)}, which is routed too; the longer prefix wins, then the lower metric`,
      )
    const overlapping = sites.filter(each => cidrOverlaps(each.cidr, cidr))
    if (overlapping.length > 0) {
      const named = overlapping.slice(0, MAX_NAMED).map(each => `${formatCidr(each.cidr)} of ${each.name}`)
      const more = overlapping.length > MAX_NAMED ? ' and more' : ''
      notes.push(
        `${text} overlaps ${named.join(', ')}${more}; the longer prefix wins, also while its site is down`,
      )
    }
    const remote = parseIpv4(value.remote)
    if (remote !== undefined && cidrContains(cidr, remote))
      notes.push(
        `${value.remote}, where the device is dialled, lies in its own ${text}: without ESP in the kernel, controllers need a route of their own to it`,
      )
    const outer = value.localSubnets.find(each => cidrCovers(cidr, parseCidr(each)!))
    if (outer !== undefined)
      notes.push(
        `${outer}, which the site is to reach here, lies within its own ${text}; its hosts look for it there`,
      )
  }
  return notes
}
