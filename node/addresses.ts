// Overlay addresses in what is told of clients and controllers.
import { parseIpv4 } from '../state/address.ts'
import { formatAddress6, overlayAddress6 } from '../state/address6.ts'
import type { MeshView } from '../state/views.ts'

/** An IPv4 overlay address, and the IPv6 address that goes with it if the overlay has IPv6. */
export function addressesOf({ subnet6 }: MeshView, address: string): { address: string; address6?: string } {
  const number = subnet6 && parseIpv4(address)
  if (number === undefined) return { address }
  return { address, address6: formatAddress6(overlayAddress6(subnet6!, number)) }
}
