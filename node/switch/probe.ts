// What the two ends of a backbone link say to each other inside it, beside overlay packets: probes, and their answers.
import type { PacketBuffer } from './ipv4.ts'

/** Begins every probe. Its first half byte is that of no IP version. */
export const PROBE_MAGIC = Uint8Array.from([
  0x3b, 0x9c, 0x41, 0xe7, 0x05, 0xd2, 0x68, 0xaf, 0x17, 0x8e, 0xf3, 0x2a, 0xc4, 0x70, 0x5d, 0xb9,
])

// magic(16) kind(1) 0(1) size(2) sequence(4); a probe of the path's size is padded with zeros.
const KIND_AT = 16
const SIZE_AT = 18
const SEQUENCE_AT = 20
/** Bytes of a probe without padding, and of every answer. */
export const PROBE_LENGTH = 24

export const PROBE = {
  /** Is the link there? */
  ask: 1,
  /** Does a datagram of this size come through? */
  askSize: 2,
  /** Added to what is answered; size and sequence are those asked. */
  answer: 0x80,
} as const

/** Writes a probe without its padding. */
export function writeProbe(
  { bytes, view }: PacketBuffer,
  kind: number,
  size: number,
  sequence: number,
): void {
  bytes.set(PROBE_MAGIC)
  view.setUint8(KIND_AT, kind)
  view.setUint8(KIND_AT + 1, 0)
  view.setUint16(SIZE_AT, size)
  view.setUint32(SEQUENCE_AT, sequence)
}

/** Whether the `length` bytes at the start are a probe or an answer. */
export function isProbe({ bytes }: PacketBuffer, length: number): boolean {
  if (length < PROBE_LENGTH) return false
  for (let i = 0; i < PROBE_MAGIC.length; i++) {
    if (bytes[i] !== PROBE_MAGIC[i]) return false
  }
  return true
}

export function probeKind({ view }: PacketBuffer): number {
  return view.getUint8(KIND_AT)
}

/** Bytes of the underlay's packet that carried an `askSize`, IP header and all. */
export function probeSize({ view }: PacketBuffer): number {
  return view.getUint16(SIZE_AT)
}

export function probeSequence({ view }: PacketBuffer): number {
  return view.getUint32(SEQUENCE_AT)
}
