// Captures as files: what is written is read again, however it is cut on the way; and the bytes are those of the format.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  interfaceBlock,
  type PacketInit,
  packetBlock,
  sectionBlock,
  statisticsBlock,
} from '../../../node/capture/pcapng.ts'
import { type Block, PcapngError, PcapngReader } from '../../../node/capture/pcapng-reader.ts'

const ip = fc
  .tuple(fc.constantFrom(0x45, 0x60), fc.uint8Array({ maxLength: 300 }))
  .map(([first, rest]) => Uint8Array.of(first, ...rest))
const packet: fc.Arbitrary<PacketInit> = fc
  .record({
    interface: fc.nat(5),
    time: fc.bigInt(0n, 2n ** 63n),
    bytes: ip,
    more: fc.nat(65_000),
    direction: fc.constantFrom(1, 2),
    lost: fc.nat(2 ** 31),
    comment: fc.option(fc.string({ minLength: 1, maxLength: 60, unit: 'grapheme' }), { nil: undefined }),
  })
  .map(({ more, ...rest }) => ({ ...rest, length: rest.bytes.length + more }))

function read(bytes: Buffer, cuts: readonly number[]): Block[] {
  const reader = new PcapngReader()
  const places = [0, ...cuts.map(cut => cut % (bytes.length + 1)).sort((a, b) => a - b), bytes.length]
  return places.slice(1).flatMap((end, i) => reader.push(bytes.subarray(places[i], end)))
}

test('what is written is read again, wherever the stream is cut', () => {
  fc.assert(
    fc.property(
      fc.array(packet, { maxLength: 10 }),
      fc.string({ maxLength: 40, unit: 'grapheme' }),
      fc.array(fc.nat(100_000), { maxLength: 8 }),
      (packets, name, cuts) => {
        const written = [
          sectionBlock('Overmesh 1'),
          interfaceBlock(name, 'what it is', 96),
          ...packets.map(packetBlock),
          statisticsBlock({ interface: 0, start: 1n, end: 2n, received: 7, lost: 8, comment: 'ended: so' }),
        ]
        const blocks = read(Buffer.concat(written), cuts)
        assert.deepEqual(
          blocks.map(({ bytes }) => Buffer.from(bytes)),
          written,
        )
        const [section, first, ...rest] = blocks
        const last = rest.pop()
        assert.ok(section.type === 'section' && section.application === 'Overmesh 1')
        assert.ok(first.type === 'interface' && first.name === name && first.snap === 96)
        assert.ok(last?.type === 'statistics' && last.received === 7 && last.lost === 8)
        assert.equal(last.comment, 'ended: so')
        assert.deepEqual(
          rest.map(block => {
            assert.ok(block.type === 'packet')
            const { bytes: _, type: __, packet: own, ...more } = block
            return { ...more, bytes: Uint8Array.from(own) }
          }),
          packets.map(each => ({ ...each, comment: each.comment })),
        )
      },
    ),
    { numRuns: 300 },
  )
})

test('the bytes are those of the format', () => {
  const hex = (block: Buffer) => block.toString('hex')
  assert.equal(
    hex(sectionBlock('x')),
    '0a0d0d0a' +
      '28000000' +
      '4d3c2b1a' +
      '01000000' +
      'ffffffffffffffff' +
      '0400010078000000' +
      '00000000' +
      '28000000',
  )
  assert.equal(
    hex(interfaceBlock('tun', '', 0)),
    '01000000' +
      '2c000000' +
      '0000' +
      '0000' +
      '00000000' +
      '0200030074756e00' +
      '03000000' +
      '0900010009000000' +
      '00000000' +
      '2c000000',
  )
  const bytes = Uint8Array.of(0x60, 1, 2)
  assert.equal(
    hex(packetBlock({ interface: 1, time: 0x1122334455667788n, bytes, length: 80, direction: 2 })),
    '06000000' +
      '34000000' +
      '01000000' +
      '44332211' +
      '88776655' +
      '07000000' +
      '54000000' +
      '1e000000' +
      '60010200' +
      '0200040002000000' +
      '00000000' +
      '34000000',
  )
})

test('what is no capture is refused, and asks for no memory', () => {
  const good = Buffer.concat([sectionBlock('x'), interfaceBlock('a', 'b', 0)])
  for (const [at, value] of [
    [4, 0xffffffff],
    [4, 13],
    [8, 0x4d3c2b1a],
    [36, 3],
    [40, 77],
  ]) {
    const bad = Buffer.from(good)
    bad.writeUInt32LE(value, at)
    assert.throws(() => read(bad, []), PcapngError, `${at}`)
  }
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat(100), (noise, at) => {
      const bad = Buffer.from(good)
      bad.set(noise.subarray(0, Math.max(0, bad.length - at)), Math.min(at, bad.length))
      try {
        read(bad, [])
      } catch (error) {
        assert.ok(error instanceof PcapngError)
      }
    }),
  )
})
