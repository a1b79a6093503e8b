// ICMP echo messages (RFC 792, RFC 4443 section 4): a request with a payload that only its answer can have, and the answer read from hostile bytes.
import { ECHO6_REPLY, ECHO6_REQUEST } from './icmpv6.ts'
import { checksum, MIN_HEADER, PROTOCOL } from './ipv4.ts'

/** Bytes of the random payload. */
export const TOKEN_LENGTH = 16
const ICMP_HEADER = 8
/** Bytes of a request, and of its answer, without an IP header. */
export const ECHO_LENGTH = ICMP_HEADER + TOKEN_LENGTH

const ECHO_REPLY = 0
const ECHO_REQUEST = 8

/** Writes a request of IPv4 of `ECHO_LENGTH` bytes at `at`. @param identifier 16 bits, like `sequence` */
export function writeEcho(
  bytes: Uint8Array,
  at: number,
  identifier: number,
  sequence: number,
  token: Uint8Array,
): void {
  write(ECHO_REQUEST, bytes, at, identifier, sequence, token)
  const sum = checksum(bytes, at, ECHO_LENGTH)
  bytes[at + 2] = sum >> 8
  bytes[at + 3] = sum & 255
}

/** The same of IPv6. Its checksum covers addresses, too, and is left to who knows them: the kernel, for a socket. */
export function writeEcho6(
  bytes: Uint8Array,
  at: number,
  identifier: number,
  sequence: number,
  token: Uint8Array,
): void {
  write(ECHO6_REQUEST, bytes, at, identifier, sequence, token)
}

function write(
  type: number,
  bytes: Uint8Array,
  at: number,
  identifier: number,
  sequence: number,
  token: Uint8Array,
): void {
  bytes.set([type, 0, 0, 0, identifier >> 8, identifier & 255, sequence >> 8, sequence & 255], at)
  bytes.set(token.subarray(0, TOKEN_LENGTH), at + ICMP_HEADER)
}

export interface EchoReply {
  readonly identifier: number
  readonly sequence: number
  /** A copy. */
  readonly token: Uint8Array<ArrayBuffer>
}

/**
 * Reads the answer to a request of `writeEcho` from the first `length` bytes; undefined for anything else.
 * @param withHeader an IP header stands before it, as in a tunnel and as a raw socket gives it (raw(7))
 */
export function readEcho(bytes: Uint8Array, length: number, withHeader: boolean): EchoReply | undefined {
  let at = 0
  let end = Math.min(length, bytes.length)
  if (withHeader) {
    if (end < MIN_HEADER || bytes[0] >> 4 !== 4 || bytes[9] !== PROTOCOL.icmp) return undefined
    at = (bytes[0] & 15) * 4
    if (at < MIN_HEADER) return undefined
    end = Math.min(end, (bytes[2] << 8) | bytes[3])
  }
  if (end - at === ECHO_LENGTH && checksum(bytes, at, ECHO_LENGTH) !== 0) return undefined
  return read(ECHO_REPLY, bytes, at, end)
}

/** Reads the answer to a request of `writeEcho6`, which lies from `at` to `end` and whose checksum is right. */
export function readEcho6(bytes: Uint8Array, at: number, end: number): EchoReply | undefined {
  return read(ECHO6_REPLY, bytes, at, Math.min(end, bytes.length))
}

function read(type: number, bytes: Uint8Array, at: number, end: number): EchoReply | undefined {
  if (end - at !== ECHO_LENGTH || bytes[at] !== type || bytes[at + 1] !== 0) return undefined
  return {
    identifier: (bytes[at + 4] << 8) | bytes[at + 5],
    sequence: (bytes[at + 6] << 8) | bytes[at + 7],
    token: new Uint8Array(bytes.subarray(at + ICMP_HEADER, end)),
  }
}
