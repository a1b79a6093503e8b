// An echo request (RFC 792) of a given length by which a session's path is probed, and its answer.
import { randomFillSync } from 'node:crypto'
import { writeIcmpChecksum, writeIcmpHeader } from './icmp.ts'
import { headerLength, isFragment, MIN_HEADER, type PacketBuffer, PROTOCOL, protocol } from './ipv4.ts'

const ICMP_HEADER = 8
const ECHO_REPLY = 0
const ECHO_REQUEST = 8
/** Tells our own requests from those of this machine's programs, and of other controllers. */
const MAGIC_LENGTH = 16
const MAGIC = randomFillSync(new Uint8Array(MAGIC_LENGTH))
// magic(16) size(2) 0(2) sequence(4), then zeros
const PAYLOAD = 24
/** Bytes of the shortest one. */
export const ECHO_PROBE_LENGTH = MIN_HEADER + ICMP_HEADER + PAYLOAD

/** Writes a request of `length` bytes at the start of `target`, about an underlay packet of `size` bytes. */
export function writeEchoProbe(
  target: PacketBuffer,
  length: number,
  from: number,
  to: number,
  size: number,
  sequence: number,
): void {
  const { bytes, view } = target
  writeIcmpHeader(target, 0, length, 0, from, to)
  bytes.fill(0, MIN_HEADER, length)
  bytes[MIN_HEADER] = ECHO_REQUEST
  view.setUint16(MIN_HEADER + 6, sequence & 0xffff)
  const payload = MIN_HEADER + ICMP_HEADER
  bytes.set(MAGIC, payload)
  view.setUint16(payload + MAGIC_LENGTH, size)
  view.setUint32(payload + MAGIC_LENGTH + 4, sequence)
  writeIcmpChecksum(target, MIN_HEADER, length - MIN_HEADER)
}

/** Where in the valid packet of `length` bytes the payload of an answer to `writeEchoProbe` lies; 0 if it is none. */
export function echoProbeAnswer({ bytes, view }: PacketBuffer, length: number): number {
  if (protocol(view, 0) !== PROTOCOL.icmp || isFragment(view, 0)) return 0
  const payload = headerLength(view, 0) + ICMP_HEADER
  if (payload + PAYLOAD > length || bytes[payload - ICMP_HEADER] !== ECHO_REPLY) return 0
  for (let i = 0; i < MAGIC_LENGTH; i++) if (bytes[payload + i] !== MAGIC[i]) return 0
  return payload
}

/** Size and sequence number, of the payload at `at`. */
export function echoProbeSize({ view }: PacketBuffer, at: number): number {
  return view.getUint16(at + MAGIC_LENGTH)
}

export function echoProbeSequence({ view }: PacketBuffer, at: number): number {
  return view.getUint32(at + MAGIC_LENGTH + 4)
}
