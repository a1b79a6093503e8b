// Who hands out which overlay address, without asking anyone: the subnet is cut into blocks, and rendezvous hashing
// (Thaler and Ravishankar, 1998) over the admitted controllers gives each block one owner. Two cut-off halves of a mesh
// agree on the controllers, so they hand out disjoint addresses.
import { crc32 } from 'node:zlib'
import {
  type Cidr,
  cidrContains,
  cidrLast,
  cidrSize,
  formatCidr,
  formatIpv4,
  type OverlayAddress,
} from './address.ts'
import type { ControllerId } from './kinds.ts'

/** What the allocator looks at. */
export interface AddressView {
  readonly subnet: Cidr
  readonly blockLength: number
  /** Ids of the admitted controllers, in any order. */
  readonly controllers: readonly ControllerId[]
  isLeased(address: OverlayAddress): boolean
}

/** Prefix lengths a subnet may have. */
export const SHORTEST_SUBNET = 8
export const LONGEST_SUBNET = 30

/** Blocks a subnet is cut into, where it has so many addresses: 2^10. */
const BLOCK_BITS = 10

/** The prefix length of the blocks of a subnet: a thousand blocks, or one for each address of a small subnet. */
export function blockLengthFor(subnet: Cidr): number {
  return Math.min(32, subnet.length + BLOCK_BITS)
}

/** Why this cannot be the subnet of an overlay, in words; undefined when it can. */
export function subnetProblem(subnet: Cidr): string | undefined {
  if (subnet.length >= SHORTEST_SUBNET && subnet.length <= LONGEST_SUBNET) return undefined
  return `${formatCidr(subnet)} cannot be an overlay; take a prefix from /${SHORTEST_SUBNET} to /${LONGEST_SUBNET}`
}

/** The address that every controller answers on: the first host address of the subnet. */
export function gatewayOf(subnet: Cidr): OverlayAddress {
  return (subnet.address + 1) as OverlayAddress
}

export type Allocation =
  | { ok: true; address: OverlayAddress }
  /** `full`: no address of the subnet is free. `blocks-full`: only other controllers have some left. */
  | { ok: false; code: 'full' | 'blocks-full'; message: string }

/** The lowest free address in the blocks of one controller. */
export function nextAddress(view: AddressView, self: ControllerId): Allocation {
  let othersHaveSome = false
  for (const { address: start, owner } of blocks(view)) {
    if (owner !== self && othersHaveSome) continue
    const free = firstFree(view, start)
    if (free === undefined) continue
    if (owner === self) return { ok: true, address: free }
    othersHaveSome = true
  }
  const subnet = formatCidr(view.subnet)
  if (!othersHaveSome)
    return { ok: false, code: 'full', message: `${subnet} is full; remove clients or start over wider` }
  const message = `this controller's part of ${subnet} is full; do it on another controller or choose an address by --ip`
  return { ok: false, code: 'blocks-full', message }
}

export type AddressRefusal = 'outside' | 'network' | 'broadcast' | 'gateway' | 'taken'
export type AddressCheck = { ok: true } | { ok: false; code: AddressRefusal; message: string }

/** Whether an address chosen by hand may be leased. */
export function checkAddress(view: AddressView, address: OverlayAddress): AddressCheck {
  const { subnet } = view
  const text = formatIpv4(address)
  if (!cidrContains(subnet, address))
    return refuse('outside', `${text} is not in ${formatCidr(subnet)}; choose one that is`)
  if (address === subnet.address) return refuse('network', `${text} is the network itself; choose another`)
  if (address === cidrLast(subnet))
    return refuse('broadcast', `${text} is the broadcast address; choose another`)
  if (address === gatewayOf(subnet)) {
    return refuse('gateway', `${text} is the gateway that every controller answers on; choose another`)
  }
  return view.isLeased(address) ? refuse('taken', `${text} is taken; choose another`) : { ok: true }
}

/** The controller that hands out this address when none is chosen by hand; undefined without controllers. */
export function ownerOf(view: AddressView, address: OverlayAddress): ControllerId | undefined {
  const index = Math.floor((address - view.subnet.address) / blockSize(view))
  return rank(hashes(view.controllers), index)
}

function* blocks(view: AddressView): Iterable<{ address: number; owner: ControllerId | undefined }> {
  const controllers = hashes(view.controllers)
  const size = blockSize(view)
  const count = cidrSize(view.subnet) / size
  for (let index = 0; index < count; index++) {
    yield { address: view.subnet.address + index * size, owner: rank(controllers, index) }
  }
}

function blockSize(view: AddressView): number {
  return 2 ** (32 - Math.max(view.blockLength, view.subnet.length))
}

function firstFree(view: AddressView, start: number): OverlayAddress | undefined {
  const end = Math.min(start + blockSize(view), cidrLast(view.subnet))
  // The network and the gateway are the first two of the subnet.
  for (let address = Math.max(start, view.subnet.address + 2); address < end; address++) {
    if (!view.isLeased(address as OverlayAddress)) return address as OverlayAddress
  }
  return undefined
}

interface Hashed {
  readonly id: ControllerId
  readonly hash: number
}

/** In the order of ids, so that a tie has one winner everywhere. */
function hashes(controllers: readonly ControllerId[]): Hashed[] {
  return [...controllers].sort().map(id => ({ id, hash: crc32(id) }))
}

function rank(controllers: readonly Hashed[], index: number): ControllerId | undefined {
  let best = -1
  let owner: ControllerId | undefined
  for (const { id, hash } of controllers) {
    const weight = mix(hash ^ mix(index + 1))
    if (weight > best) {
      best = weight
      owner = id
    }
  }
  return owner
}

/** Finalizer of MurmurHash3 (Appleby, public domain): every input bit moves every output bit. */
function mix(value: number): number {
  let h = value >>> 0
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return (h ^ (h >>> 16)) >>> 0
}

function refuse(code: AddressRefusal, message: string): AddressCheck {
  return { ok: false, code, message }
}
