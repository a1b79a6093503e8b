// ICMP echo (RFC 792) as `ping` sees it: what may come back for a request, errors of routers included.
import { formatIpv4 } from '../../state/address.ts'
import { ICMP_ERROR } from '../switch/icmp.ts'
import {
  checksum,
  headerLength,
  IPV4,
  isFragment,
  MIN_HEADER,
  type PacketBuffer,
  PROTOCOL,
  protocol,
  source,
  timeToLive,
  totalLength,
  validate,
} from '../switch/ipv4.ts'

const ICMP_HEADER = 8
const ECHO_REPLY = 0
const ECHO_REQUEST = 8

/** What came back for a request: the reply, or a router's word that there will be none. */
export interface EchoAnswer {
  /** Who answered. */
  from: string
  identifier: number
  sequence: number
  ttl: number
  /** Bytes of the ICMP message. */
  size: number
  /** Why there is no reply; undefined for a reply. */
  error?: string
}

/** Reads a reply, or an error that quotes one of our requests. Undefined for everything else. */
export function readEchoAnswer(bytes: Uint8Array): EchoAnswer | undefined {
  const { view } = packetBuffer(bytes)
  if (validate(bytes, view, 0, bytes.length) !== IPV4.ok) return undefined
  if (protocol(view, 0) !== PROTOCOL.icmp || isFragment(view, 0)) return undefined
  const start = headerLength(view, 0)
  const size = totalLength(view, 0) - start
  if (size < ICMP_HEADER || checksum(bytes, start, size) !== 0) return undefined
  const answer = { from: formatIpv4(source(view, 0)), ttl: timeToLive(view, 0), size }
  const type = view.getUint8(start)
  if (type === ECHO_REPLY) {
    return { ...answer, identifier: view.getUint16(start + 4), sequence: view.getUint16(start + 6) }
  }
  const error = errorText(type, view.getUint8(start + 1))
  const quoted = start + ICMP_HEADER
  if (error === undefined || size < ICMP_HEADER + MIN_HEADER || view.getUint8(quoted) >> 4 !== 4)
    return undefined
  const request = quoted + headerLength(view, quoted)
  if (protocol(view, quoted) !== PROTOCOL.icmp || request + ICMP_HEADER > start + size) return undefined
  if (view.getUint8(request) !== ECHO_REQUEST) return undefined
  return {
    ...answer,
    identifier: view.getUint16(request + 4),
    sequence: view.getUint16(request + 6),
    error,
  }
}

export function packetBuffer(bytes: Uint8Array): PacketBuffer {
  return { bytes, view: new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength) }
}

const ERROR_TEXT: Record<keyof typeof ICMP_ERROR, string> = {
  networkUnreachable: 'network unreachable',
  hostUnreachable: 'host unreachable',
  protocolUnreachable: 'protocol unreachable',
  portUnreachable: 'port unreachable',
  fragmentationNeeded: 'packet too large',
  adminProhibited: 'forbidden',
  timeExceeded: 'time to live exceeded',
}

function errorText(type: number, code: number): string | undefined {
  for (const [name, error] of Object.entries(ICMP_ERROR)) {
    if (error.type === type && error.code === code) return ERROR_TEXT[name as keyof typeof ICMP_ERROR]
  }
  return type === 3 ? `unreachable (code ${code})` : undefined
}
