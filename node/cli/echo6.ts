// ICMPv6 echo (RFC 4443) as `ping` sees it: see echo.ts.
import { formatIpv6 } from '../../state/address6.ts'
import { ECHO6_REPLY, ECHO6_REQUEST, ICMP6_ERROR, ICMP6_HEADER, icmp6Checksum } from '../switch/icmpv6.ts'
import {
  hopLimit,
  IPV6,
  IPV6_HEADER,
  icmpOffset,
  isFragment6,
  NEXT_HEADER,
  nextHeader,
  SOURCE6,
  totalLength6,
  validate6,
} from '../switch/ipv6.ts'
import { type EchoAnswer, packetBuffer } from './echo.ts'

/** Reads a reply, or an error that quotes one of our requests. Undefined for everything else. */
export function readEchoAnswer6(bytes: Uint8Array): EchoAnswer | undefined {
  const { view } = packetBuffer(bytes)
  if (validate6(view, 0, bytes.length) !== IPV6.ok || isFragment6(view, 0)) return undefined
  const start = icmpOffset(view, 0)
  const size = totalLength6(view, 0) - start
  if (start <= 0 || size < ICMP6_HEADER || icmp6Checksum(view, 0, start, size) !== 0) return undefined
  const answer = { from: formatIpv6(bytes, SOURCE6), ttl: hopLimit(view, 0), size }
  const type = view.getUint8(start)
  if (type === ECHO6_REPLY)
    return { ...answer, identifier: view.getUint16(start + 4), sequence: view.getUint16(start + 6) }
  const error = errorText(type, view.getUint8(start + 1))
  const quoted = start + ICMP6_HEADER
  const request = quoted + IPV6_HEADER
  if (error === undefined || request + ICMP6_HEADER > start + size) return undefined
  if (view.getUint8(quoted) >> 4 !== 6 || nextHeader(view, quoted) !== NEXT_HEADER.icmp) return undefined
  if (view.getUint8(request) !== ECHO6_REQUEST) return undefined
  return {
    ...answer,
    identifier: view.getUint16(request + 4),
    sequence: view.getUint16(request + 6),
    error,
  }
}

const ERROR_TEXT: Record<keyof typeof ICMP6_ERROR, string> = {
  noRoute: 'network unreachable',
  adminProhibited: 'forbidden',
  addressUnreachable: 'host unreachable',
  portUnreachable: 'port unreachable',
  packetTooBig: 'packet too large',
  timeExceeded: 'hop limit exceeded',
  unknownNextHeader: 'protocol unreachable',
}

function errorText(type: number, code: number): string | undefined {
  for (const [name, error] of Object.entries(ICMP6_ERROR)) {
    if (error.type === type && error.code === code) return ERROR_TEXT[name as keyof typeof ICMP6_ERROR]
  }
  return type === 1 ? `unreachable (code ${code})` : undefined
}
