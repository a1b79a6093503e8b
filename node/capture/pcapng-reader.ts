// Reads what pcapng.ts writes, block by block, from a stream that may be cut anywhere.
import { BLOCK, BYTE_ORDER_MAGIC, FAMILY_BYTES, OPTION, padded } from './pcapng.ts'

export class PcapngError extends Error {
  override name = 'PcapngError'
  readonly code = 'BAD_CAPTURE'
}

/** Longest block, bytes: one packet with its options. */
const MAX_BLOCK = 128 * 1024

export type Block = {
  /** The block as it came. */
  readonly bytes: Buffer
} & (
  | { readonly type: 'section'; readonly application: string }
  | { readonly type: 'interface'; readonly name: string; readonly description: string; readonly snap: number }
  | {
      readonly type: 'packet'
      readonly interface: number
      /** Nanoseconds since 1970. */
      readonly time: bigint
      /** From the IP header on. */
      readonly packet: Buffer
      readonly length: number
      readonly direction: number
      readonly lost: number
      readonly comment: string | undefined
    }
  | {
      readonly type: 'statistics'
      readonly interface: number
      readonly received: number
      readonly lost: number
      readonly comment: string | undefined
    }
)

export class PcapngReader {
  #rest: Buffer = Buffer.alloc(0)

  /** Takes bytes: the blocks that are complete with them. @throws PcapngError for what is none */
  push(chunk: Uint8Array): Block[] {
    const bytes = this.#rest.length === 0 ? Buffer.from(chunk) : Buffer.concat([this.#rest, chunk])
    const blocks: Block[] = []
    let at = 0
    while (bytes.length - at >= 12) {
      const total = bytes.readUInt32LE(at + 4)
      if (total < 16 || total > MAX_BLOCK || total % 4 !== 0)
        throw new PcapngError(`a block of ${total} bytes`)
      if (bytes.length - at < total) break
      if (bytes.readUInt32LE(at + total - 4) !== total) throw new PcapngError('a block has two lengths')
      blocks.push(parse(bytes.subarray(at, at + total)))
      at += total
    }
    this.#rest = bytes.subarray(at)
    return blocks
  }
}

function parse(bytes: Buffer): Block {
  const type = bytes.readUInt32LE(0)
  const body = bytes.subarray(8, -4)
  if (type === BLOCK.section) {
    if (need(body, 16).readUInt32LE(0) !== BYTE_ORDER_MAGIC) throw new PcapngError('another order of bytes')
    const options = optionsOf(body, 16)
    return { bytes, type: 'section', application: textOf(options.get(OPTION.section.application)) ?? '' }
  }
  if (type === BLOCK.interface) {
    const snap = Math.max(0, need(body, 8).readUInt32LE(4) - FAMILY_BYTES)
    const options = optionsOf(body, 8)
    const name = textOf(options.get(OPTION.interface.name)) ?? ''
    const description = textOf(options.get(OPTION.interface.description)) ?? ''
    return { bytes, type: 'interface', name, description, snap }
  }
  if (type === BLOCK.packet) {
    const captured = need(body, 20).readUInt32LE(12)
    if (captured < FAMILY_BYTES) throw new PcapngError('a packet without its family')
    const end = 20 + padded(captured)
    const options = optionsOf(need(body, end), end)
    return {
      bytes,
      type: 'packet',
      interface: body.readUInt32LE(0),
      time: timeOf(body, 4),
      packet: body.subarray(20 + FAMILY_BYTES, 20 + captured),
      length: body.readUInt32LE(16) - FAMILY_BYTES,
      direction: (options.get(OPTION.packet.flags)?.[0] ?? 0) & 3,
      lost: number64(options.get(OPTION.packet.lost)),
      comment: textOf(options.get(OPTION.comment)),
    }
  }
  if (type === BLOCK.statistics) {
    const options = optionsOf(need(body, 12), 12)
    return {
      bytes,
      type: 'statistics',
      interface: body.readUInt32LE(0),
      received: number64(options.get(OPTION.statistics.received)),
      lost: number64(options.get(OPTION.statistics.lost)),
      comment: textOf(options.get(OPTION.comment)),
    }
  }
  throw new PcapngError(`a block of type ${type}`)
}

function need(body: Buffer, length: number): Buffer {
  if (length > body.length) throw new PcapngError('a block is too short')
  return body
}

function optionsOf(body: Buffer, from: number): Map<number, Buffer> {
  const options = new Map<number, Buffer>()
  for (let at = from; at + 4 <= body.length; ) {
    const code = body.readUInt16LE(at)
    const length = body.readUInt16LE(at + 2)
    if (code === OPTION.end) break
    options.set(code, need(body, at + 4 + padded(length)).subarray(at + 4, at + 4 + length))
    at += 4 + padded(length)
  }
  return options
}

function textOf(value: Buffer | undefined): string | undefined {
  return value?.toString('utf8')
}

function number64(value: Buffer | undefined): number {
  return value?.length === 8 ? Number(value.readBigUInt64LE()) : 0
}

function timeOf(body: Buffer, at: number): bigint {
  return (BigInt(body.readUInt32LE(at)) << 32n) | BigInt(body.readUInt32LE(at + 4))
}
