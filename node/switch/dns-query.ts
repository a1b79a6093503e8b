// Which packets to the switch itself are for DNS.
import { headerLength, isFragment, PROTOCOL, protocol, totalLength } from './ipv4.ts'

const UDP_HEADER = 8
const DNS_PORT = 53

/** Whether a valid packet is a whole UDP datagram to port 53. */
export function isDnsQuery(view: DataView, offset: number): boolean {
  if (protocol(view, offset) !== PROTOCOL.udp || isFragment(view, offset)) return false
  const header = headerLength(view, offset)
  return totalLength(view, offset) >= header + UDP_HEADER && view.getUint16(offset + header + 2) === DNS_PORT
}
