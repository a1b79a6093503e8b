// What the kernel of a controller's machine is to carry between the overlay's TUN interface and its other interfaces.
import type { Cidr, OverlayAddress } from '../../state/address.ts'
import type { Address6, Cidr6 } from '../../state/address6.ts'

/**
 * Everything that is not described is refused between the TUN interface and others, so that an empty description seals the
 * machine. Lists may overlap each other and themselves: for each address the longest prefix decides.
 */
export interface GatewayDescription {
  /** The TUN interface, up, with this controller's own overlay address and the subnet's prefix length. */
  readonly tunName: string
  /** The kernel's number of it. One that is renamed is as closed as if nothing were described: what is open is open by its name alone. */
  readonly tunIndex?: number
  /** The overlay's subnet. Its route is there with the interface's address. */
  readonly subnet: Cidr
  /** The same of IPv6; undefined where the overlay or this machine has none. */
  readonly six?: GatewayDescription6
  /**
   * Prefixes that this kernel sends into the TUN interface: subnets behind clients, networks of other controllers, remote subnets of
   * attachments. Those shorter than /8 are passed over: this machine's own way to the Internet stays as it is. What lies in them is
   * not let through, though a shorter prefix of `forwarded` or `masqueraded` has it too.
   */
  readonly kernelRoutes: readonly Cidr[]
  /**
   * Prefixes that overlay hosts reach through this kernel with their own source address. Hosts in them reach the overlay, and what
   * `kernelRoutes` has, in turn.
   */
  readonly forwarded: readonly Cidr[]
  /**
   * Remote subnets of attachments that are up here: packets to and from them pass by IPsec or not at all. From those that are
   * `expected` packets are taken as soon as an SA brings them. `device` is the interface that ESP is done behind; undefined where the
   * kernel does ESP itself.
   */
  readonly attached?: AttachedSites
  /**
   * Prefixes that overlay hosts reach through this kernel with the source address of the interface by which it leaves; nothing
   * in them can begin a connection into the overlay.
   *
   * Prefixes shorter than /8, of which 0.0.0.0/0 is egress, mean the Internet, in `forwarded` too: private, link-local and other
   * special-purpose addresses (RFC 6890) inside them stay closed unless a prefix of their own opens them.
   */
  readonly masqueraded: readonly Cidr[]
  /**
   * Addresses that must be reached beside the TUN interface: those that other controllers are dialled at. A prefix of `kernelRoutes` that
   * contains one is not routed, and told as a problem, or packets of the backbone would go into themselves.
   */
  readonly underlay?: readonly OverlayAddress[]
}

/** As the fields of the same names of `GatewayDescription`; prefixes shorter than /16 mean the Internet, which is 2000::/3. */
export interface GatewayDescription6 {
  readonly subnet: Cidr6
  readonly kernelRoutes: readonly Cidr6[]
  readonly forwarded: readonly Cidr6[]
  readonly masqueraded: readonly Cidr6[]
  readonly underlay?: readonly Address6[]
}

export interface AttachedSites {
  readonly prefixes: readonly Cidr[]
  /** All that may be up here, now or in a moment; it has those of `prefixes`, too. */
  readonly expected: readonly Cidr[]
  readonly device: string | undefined
  /** What this machine's own packets come from: its overlay address, in text. */
  readonly source: string
}

/** What the running gateway is to those that use it; `Gateway` (gateway.ts) implements it. */
export interface GatewayHandle {
  /** Whether what was described last is in force: this machine forwards for the overlay. False until the first description was. */
  readonly isUp: boolean
  /** The same of IPv6: false where that is not described, too. */
  readonly isUp6: boolean
  /** Whether this machine has a way of its own to the IPv4 Internet, as far as its routes tell. */
  readonly hasExit: boolean
  /** The same of IPv6; false where that is not described. */
  readonly hasExit6: boolean
  /** What is wrong, one line each, for `status`; none when all is well. */
  problems(): string[]
  /** Makes the kernel as described, soon: calls are coalesced, and the latest counts. */
  update(description: GatewayDescription): void
  /** Undoes everything. */
  stop(): Promise<void>
}
