// ICMP echo messages (RFC 792): a request with a payload that only its answer can have, and the answer read from hostile bytes.
import { checksum } from '../switch/ipv4.ts'

/** Bytes of the random payload. */
export const TOKEN_LENGTH = 16
const HEADER_LENGTH = 8
/** Bytes of a request, and of its answer without an IP header. */
export const ECHO_LENGTH = HEADER_LENGTH + TOKEN_LENGTH

const ECHO_REPLY = 0
const ECHO_REQUEST = 8
const PROTOCOL_ICMP = 1
const MIN_IP_HEADER = 20

/** Writes a request of `ECHO_LENGTH` bytes at the start. @param identifier 16 bits, like `sequence` */
export function writeEcho(bytes: Uint8Array, identifier: number, sequence: number, token: Uint8Array): void {
  bytes.set([ECHO_REQUEST, 0, 0, 0, identifier >> 8, identifier & 255, sequence >> 8, sequence & 255])
  bytes.set(token, HEADER_LENGTH)
  const sum = checksum(bytes, 0, ECHO_LENGTH)
  bytes[2] = sum >> 8
  bytes[3] = sum & 255
}

export interface EchoReply {
  readonly identifier: number
  readonly sequence: number
  readonly token: Uint8Array
}

/**
 * Reads the answer to a request of `writeEcho` from the first `length` bytes; undefined for anything else.
 * @param withHeader an IP header stands before it, as a raw socket gives it (raw(7))
 */
export function readEcho(bytes: Uint8Array, length: number, withHeader: boolean): EchoReply | undefined {
  let at = 0
  let end = Math.min(length, bytes.length)
  if (withHeader) {
    if (end < MIN_IP_HEADER || bytes[0] >> 4 !== 4 || bytes[9] !== PROTOCOL_ICMP) return undefined
    at = (bytes[0] & 15) * 4
    if (at < MIN_IP_HEADER) return undefined
    end = Math.min(end, (bytes[2] << 8) | bytes[3])
  }
  if (end - at !== ECHO_LENGTH) return undefined
  if (bytes[at] !== ECHO_REPLY || bytes[at + 1] !== 0 || checksum(bytes, at, ECHO_LENGTH) !== 0)
    return undefined
  return {
    identifier: (bytes[at + 4] << 8) | bytes[at + 5],
    sequence: (bytes[at + 6] << 8) | bytes[at + 7],
    token: bytes.slice(at + HEADER_LENGTH, end),
  }
}
