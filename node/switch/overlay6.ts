// The IPv6 side of the overlay: addresses of the IPv6 subnet whose last 32 bits lie in the IPv4 subnet. Such an address is
// where its IPv4 address is, so one table and one source check serve both.
import { type Cidr, cidrMask } from '../../state/address.ts'
import { type Cidr6, cidr6Mask, overlayAddress6 } from '../../state/address6.ts'
import type { PacketBuffer } from './ipv4.ts'

export class Overlay6 {
  /** The address that ICMPv6 errors come from: that of all controllers. */
  readonly gateway: PacketBuffer
  // As signed numbers, which they are compared with.
  readonly #high: number
  readonly #middle: number
  readonly #low: number
  readonly #subnet: number
  readonly #mask: number
  /** Of the subnet's prefix, in the first three words. */
  readonly #masks: readonly [number, number, number]

  /** @param gateway IPv4 overlay address, u32 */
  constructor(subnet6: Cidr6, subnet: Cidr, gateway: number) {
    this.#high = subnet6.address[0] | 0
    this.#middle = subnet6.address[1] | 0
    this.#low = subnet6.address[2] | 0
    this.#subnet = subnet.address | 0
    this.#mask = cidrMask(subnet.length) | 0
    const [a, b, c] = cidr6Mask(subnet6.length)
    this.#masks = [a | 0, b | 0, c | 0]
    const bytes = new Uint8Array(16)
    this.gateway = { bytes, view: new DataView(bytes.buffer) }
    for (const [i, word] of overlayAddress6(subnet6, gateway).entries())
      this.gateway.view.setUint32(4 * i, word)
  }

  /** Whether the address at `at` is in the overlay's subnet, though it may be nobody's. */
  covers(view: DataView, at: number): boolean {
    const [a, b, c] = this.#masks
    return (
      (view.getInt32(at) & a) === (this.#high & a) &&
      (view.getInt32(at + 4) & b) === (this.#middle & b) &&
      (view.getInt32(at + 8) & c) === (this.#low & c)
    )
  }

  /** Whether the address at `at` is one; then its last 32 bits are the IPv4 address. */
  has(view: DataView, at: number): boolean {
    return (
      view.getInt32(at + 8) === this.#low &&
      view.getInt32(at + 4) === this.#middle &&
      view.getInt32(at) === this.#high &&
      (view.getInt32(at + 12) & this.#mask) === this.#subnet
    )
  }
}
