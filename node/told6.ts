// IPv6 prefixes as clients are told them. Stock clients take no route beside the tunnel (openvpn(8), --route-ipv6), so that what has to
// stay beside it is left out of what leads into it. Pure.
import { type Address6, type Cidr6, cidr6Contains, cidr6Covers, cidr6Without } from '../state/address6.ts'
import { GLOBAL_UNICAST, INTERNET_LENGTH6 } from './gateway/reach6.ts'

/** Of the Internet a whole link is left out: a host alone makes twice as many routes, which some systems take seconds to set. */
const LINK_LENGTH = 64
const HOST_LENGTH = 128

/**
 * What a prefix is told as. That of the Internet goes out as its two halves, which leave the machine's own way in place.
 * @param outside addresses that controllers are dialled at
 */
export function told6(cidr: Cidr6, outside: readonly Address6[]): Cidr6[] {
  const whole = cidr.length < GLOBAL_UNICAST.length ? halvesOf(GLOBAL_UNICAST) : [cidr]
  const hole = cidr.length < INTERNET_LENGTH6 ? LINK_LENGTH : HOST_LENGTH
  return outside
    .filter(address => cidr6Contains(cidr, address))
    .reduce((pieces, address) => pieces.flatMap(piece => without(piece, { address, length: hole })), whole)
}

/** A host alone may be what is routed: then that is left out. */
function without(piece: Cidr6, hole: Cidr6): Cidr6[] {
  return cidr6Covers(hole, piece) ? [] : cidr6Without(piece, hole)
}

function halvesOf({ address: [first, ...rest], length }: Cidr6): Cidr6[] {
  const half = (2 ** (31 - length)) >>> 0
  return [first, first + half].map(word => ({ address: [word, ...rest], length: length + 1 }))
}
