// The ring of captured packets against a queue: what comes out is what went in, in order, and all that is missing is counted.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  allocateRing,
  DIRECTION,
  flagsOf,
  RECORD,
  RECORD_BYTES,
  RingReader,
  RingWriter,
} from '../../../node/switch/tap-ring.ts'

const RING = 1024

function write(writer: RingWriter, bytes: Uint8Array, tag: number): boolean {
  const at = writer.begin(bytes.length)
  if (at < 0) return false
  assert.equal(at % 8, 0)
  const word = at >> 2
  writer.words[word + RECORD.peerId] = tag
  writer.words[word + RECORD.address] = -tag
  writer.words[word + RECORD.flags] = flagsOf(DIRECTION.out, tag % 3 === 0 ? -1 : 27)
  writer.words[word + RECORD.length] = bytes.length + 1
  writer.words[word + RECORD.seconds] = 0xf0000000
  writer.words[word + RECORD.nanoseconds] = tag
  writer.bytes.set(bytes, at + RECORD_BYTES)
  writer.commit()
  return true
}

const step = fc.oneof(
  { weight: 3, arbitrary: fc.uint8Array({ minLength: 1, maxLength: 200 }) },
  { weight: 1, arbitrary: fc.integer({ min: 1, max: 20 }) },
)
/** Bytes that went through before: up to where the count of them turns over. */
const start = fc.constantFrom(0, 2 ** 31 - 400, 2 ** 32 - 200).map(bytes => (bytes & ~7) | 0)

test('what is read is what was written, in order, and what found no room is counted', () => {
  let lostEver = 0
  fc.assert(
    fc.property(start, fc.array(step, { maxLength: 80, size: 'max' }), (from, steps) => {
      const memory = allocateRing(RING)
      new Int32Array(memory).fill(from, 0, 2)
      const [writer, reader] = [new RingWriter(memory), new RingReader(memory)]
      const queue: { bytes: Uint8Array; tag: number; lost: number }[] = []
      let lost = 0
      let before = 0
      let tag = 0
      const read = (most: number): void => {
        for (let i = 0; i < most; i++) {
          const packet = reader.next()
          const expected = queue.shift()
          assert.equal(packet === undefined, expected === undefined)
          if (packet === undefined || expected === undefined) break
          assert.deepEqual(
            { ...packet, bytes: Uint8Array.from(packet.bytes) },
            {
              peerId: expected.tag,
              address: -expected.tag >>> 0,
              direction: DIRECTION.out,
              drop: expected.tag % 3 === 0 ? -1 : 27,
              bytes: expected.bytes,
              length: expected.bytes.length + 1,
              seconds: 0xf0000000,
              nanoseconds: expected.tag,
              lost: expected.lost,
            },
          )
        }
        reader.release()
      }
      for (const each of steps) {
        if (typeof each === 'number') {
          read(each)
        } else if (write(writer, each, ++tag)) {
          queue.push({ bytes: each, tag, lost: lost - before })
          before = lost
        } else {
          lost++
        }
        assert.equal(reader.lost, lost)
      }
      lostEver += lost
      read(steps.length + 1)
      // An empty ring takes anything that is not longer than half of it, wherever it stands.
      assert.ok(write(writer, new Uint8Array(RING / 2 - RECORD_BYTES), 1))
    }),
    { numRuns: 500 },
  )
  assert.ok(lostEver > 0, 'the ring was never full')
})

test('a ring is a power of two, of at least a packet', () => {
  for (const size of [0, 512, 1000, 3 * 1024, 2 ** 31]) assert.throws(() => allocateRing(size), RangeError)
})
