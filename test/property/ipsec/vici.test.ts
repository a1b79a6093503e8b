// What is written is read back, in whatever pieces it arrives.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { decodeMessage, encodeMessage, type ViciMessage } from '../../../node/ipsec/vici/message.ts'
import { encodeRequest, PacketReader } from '../../../node/ipsec/vici/packet.ts'

const name = fc.string({ minLength: 1, maxLength: 20 })
const text = fc.string({ unit: 'grapheme', maxLength: 300 })
const { message } = fc.letrec<{ message: ViciMessage }>(tie => ({
  message: fc.dictionary(
    name,
    fc.oneof({ maxDepth: 4, depthSize: 'small' }, text, fc.array(text, { maxLength: 5 }), tie('message')),
    { maxKeys: 6 },
  ) as fc.Arbitrary<ViciMessage>,
}))

test('a message survives being written and read', () => {
  fc.assert(
    fc.property(message, sent => {
      const received = decodeMessage(encodeMessage(sent))
      assert.deepEqual(JSON.parse(JSON.stringify(received)), JSON.parse(JSON.stringify(sent)))
    }),
  )
})

test('packets survive any cuts', () => {
  fc.assert(
    fc.property(
      fc.array(message, { maxLength: 4 }),
      fc.array(fc.nat(200), { maxLength: 30 }),
      (messages, sizes) => {
        const packets = messages.map(each => encodeRequest('a', each))
        const stream = Buffer.concat(packets)
        const reader = new PacketReader()
        const read: Uint8Array[] = []
        let at = 0
        for (const size of [...sizes, stream.length]) {
          read.push(...reader.push(stream.subarray(at, at + size)))
          at += size
        }
        assert.deepEqual(
          read.map(each => Buffer.from(each)),
          packets.map(each => Buffer.from(each.subarray(4))),
        )
      },
    ),
  )
})
