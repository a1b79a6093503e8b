// Blocks of the pcapng format (draft-ietf-opsawg-pcapng), as Wireshark and tcpdump read it: little-endian, times in
// nanoseconds.

export const BLOCK = { section: 0x0a0d0d0a, interface: 1, statistics: 5, packet: 6 } as const
/** In a section header; its order tells that of all numbers. */
export const BYTE_ORDER_MAGIC = 0x1a2b3c4d
/**
 * Packets begin with the family of their addresses, four bytes in the file's order, as of a loopback of BSD. Raw IP (101)
 * would do, but libpcap takes no second interface of that kind in one file.
 */
export const LINKTYPE_NULL = 0
export const FAMILY_BYTES = 4
/** AF_INET everywhere; AF_INET6 of macOS: each reader knows all that there are. */
const FAMILY = { four: 2, six: 30 } as const

/** Codes of options, by the block they stand in. */
export const OPTION = {
  end: 0,
  comment: 1,
  section: { application: 4 },
  interface: { name: 2, description: 3, timeResolution: 9 },
  packet: { flags: 2, lost: 4 },
  statistics: { start: 2, end: 3, received: 4, lost: 5 },
} as const

/** 10^-9 seconds. */
const NANOSECONDS = Uint8Array.of(9)
/** Blocks of a known kind are as long as their fields: not told. */
const UNKNOWN_LENGTH = -1n
/** Of an option's value; longer texts are cut. */
const MAX_OPTION = 2048

type Option = readonly [code: number, value: Uint8Array]

export interface PacketInit {
  /** Number of the interface: they count from 0 in the order of their blocks. */
  interface: number
  /** Nanoseconds since 1970. */
  time: bigint
  /** From the IP header on; at least one byte. */
  bytes: Uint8Array
  /** Bytes that the packet has. */
  length: number
  /** 1 came in by the interface, 2 goes out by it. */
  direction: number
  /** Packets lost before this one. */
  lost?: number
  comment?: string
}

export interface StatisticsInit {
  interface: number
  /** Nanoseconds since 1970. */
  start: bigint
  end: bigint
  received: number
  lost: number
  comment?: string
}

/** Begins a file. @param application that writes it */
export function sectionBlock(application: string): Buffer {
  const body = Buffer.alloc(16)
  body.writeUInt32LE(BYTE_ORDER_MAGIC, 0)
  body.writeUInt16LE(1, 4)
  body.writeBigInt64LE(UNKNOWN_LENGTH, 8)
  return block(BLOCK.section, body, [[OPTION.section.application, text(application)]])
}

/** @param snap most bytes of a packet; 0 for any number */
export function interfaceBlock(name: string, description: string, snap: number): Buffer {
  const body = Buffer.alloc(8)
  body.writeUInt16LE(LINKTYPE_NULL, 0)
  body.writeUInt32LE(snap === 0 ? 0 : snap + FAMILY_BYTES, 4)
  const { interface: codes } = OPTION
  return block(BLOCK.interface, body, [
    [codes.name, text(name)],
    [codes.description, text(description)],
    [codes.timeResolution, NANOSECONDS],
  ])
}

export function packetBlock(init: PacketInit): Buffer {
  const { time, bytes, length, direction, lost = 0, comment } = init
  const captured = FAMILY_BYTES + bytes.length
  const body = Buffer.alloc(20 + padded(captured))
  body.writeUInt32LE(init.interface, 0)
  writeTime(body, 4, time)
  body.writeUInt32LE(captured, 12)
  body.writeUInt32LE(FAMILY_BYTES + length, 16)
  body.writeUInt32LE(bytes[0] >>> 4 === 6 ? FAMILY.six : FAMILY.four, 20)
  body.set(bytes, 20 + FAMILY_BYTES)
  const flags = Buffer.alloc(4)
  flags.writeUInt32LE(direction)
  return block(BLOCK.packet, body, [
    [OPTION.packet.flags, flags],
    ...(lost > 0 ? [[OPTION.packet.lost, number64(lost)] as const] : []),
    ...commented(comment),
  ])
}

export function statisticsBlock(init: StatisticsInit): Buffer {
  const body = Buffer.alloc(12)
  body.writeUInt32LE(init.interface, 0)
  writeTime(body, 4, init.end)
  const times = [init.start, init.end].map(time => {
    const value = Buffer.alloc(8)
    writeTime(value, 0, time)
    return value
  })
  const { statistics: codes } = OPTION
  return block(BLOCK.statistics, body, [
    ...commented(init.comment),
    [codes.start, times[0]],
    [codes.end, times[1]],
    [codes.received, number64(init.received)],
    [codes.lost, number64(init.lost)],
  ])
}

function block(type: number, body: Uint8Array, options: readonly Option[]): Buffer {
  const optionBytes = options.reduce((sum, [, value]) => sum + 4 + padded(value.length), 4)
  const total = 12 + body.length + optionBytes
  const bytes = Buffer.alloc(total)
  bytes.writeUInt32LE(type, 0)
  bytes.writeUInt32LE(total, 4)
  bytes.set(body, 8)
  let at = 8 + body.length
  for (const [code, value] of options) {
    bytes.writeUInt16LE(code, at)
    bytes.writeUInt16LE(value.length, at + 2)
    bytes.set(value, at + 4)
    at += 4 + padded(value.length)
  }
  // The end of options is four zeros.
  bytes.writeUInt32LE(total, total - 4)
  return bytes
}

function commented(comment: string | undefined): Option[] {
  return comment === undefined ? [] : [[OPTION.comment, text(comment)]]
}

function text(value: string): Uint8Array {
  return Buffer.from(value, 'utf8').subarray(0, MAX_OPTION)
}

function number64(value: number): Uint8Array {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64LE(BigInt(value))
  return bytes
}

/** The upper half first, whatever the order of bytes. */
function writeTime(bytes: Buffer, at: number, time: bigint): void {
  bytes.writeUInt32LE(Number(time >> 32n), at)
  bytes.writeUInt32LE(Number(time & 0xffffffffn), at + 4)
}

/** Everything begins at a multiple of four. */
export function padded(length: number): number {
  return Math.ceil(length / 4) * 4
}
