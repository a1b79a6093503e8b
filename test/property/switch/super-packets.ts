// Segments and super-packets of TCP and UDP, and what the property tests of cutting and joining them share.
import assert from 'node:assert/strict'
import type { Segmenter } from '../../../node/switch/segmenter.ts'
import { buffer } from '../../unit/switch-pure/packets.ts'
import { makeTransport, type Transport } from '../../unit/switch-pure/tcp-packets.ts'

export const FIN = 0x01
export const PSH = 0x08
export const ACK = 0x10
export const CWR = 0x80

export const FLOW: Transport = {
  version: 4,
  protocol: 6,
  source: 0x0a4d0005,
  destination: 0x0a4d0006,
  sourcePort: 40000,
  destinationPort: 443,
  sequence: 1,
  acknowledgment: 2,
  window: 3,
  flags: ACK,
  urgent: 0,
  options: new Uint8Array(),
  ttl: 64,
  tos: 0,
  id: 1,
  fragment: 0x4000,
  payload: new Uint8Array(),
  badChecksum: false,
}

export const payloadOf = (length: number, seed: number): Uint8Array =>
  Uint8Array.from({ length }, (_, i) => (i * 31 + (i >> 8) * 7 + seed) & 0xff)
export const hex = (packets: readonly Uint8Array[]): string[] =>
  packets.map(each => Buffer.from(each).toString('hex'))

/** What a host without offloads would have sent. */
export function cut(whole: Transport, size: number): Uint8Array[] {
  const count = Math.ceil(whole.payload.length / size)
  return Array.from({ length: count }, (_, i) => {
    let { flags } = whole
    if (i < count - 1) flags &= ~(FIN | PSH)
    if (i > 0) flags &= ~CWR
    const payload = whole.payload.subarray(i * size, (i + 1) * size)
    const sequence = (whole.sequence + i * size) >>> 0
    return makeTransport({ ...whole, flags, sequence, id: (whole.id + i) & 0xffff, payload })
  })
}

/** What comes out of a segmenter: the packet itself where there is nothing to cut, none where it was refused. */
export function segments(
  segmenter: Segmenter,
  bytes: Uint8Array,
  virtio: ReturnType<typeof buffer>,
): Uint8Array[] {
  const packet = buffer(65536)
  packet.bytes.set(bytes)
  const count = segmenter.begin(packet, bytes.length, virtio)
  if (count < 2) return count === 0 ? [] : [packet.bytes.slice(0, bytes.length)]
  const packets: Uint8Array[] = []
  while (segmenter.next()) {
    assert.ok(segmenter.at + segmenter.length <= bytes.length)
    packets.push(packet.bytes.slice(segmenter.at, segmenter.at + segmenter.length))
  }
  assert.equal(packets.length, count)
  return packets
}
