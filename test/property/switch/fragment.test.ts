import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { MIN_MTU, planFragments, writeFragment } from '../../../node/switch/fragment.ts'
import {
  fragmentOffset,
  headerLength,
  IPV4,
  moreFragments,
  totalLength,
  validate,
} from '../../../node/switch/ipv4.ts'
import { buffer, type makePacket, writePacket } from '../../unit/switch-pure/packets.ts'

interface Option {
  type: number
  data: Uint8Array
}
const optionBytes = ({ type, data }: Option) => (type <= 1 ? [type] : [type, data.length + 2, ...data])
const option = fc.record({
  // No-operation, record route, timestamp; and with the "copied" bit: loose source route, router alert.
  type: fc.constantFrom(1, 7, 68, 131, 148),
  data: fc.uint8Array({ minLength: 1, maxLength: 12, size: 'max' }),
})
const options = fc
  .array(option, { maxLength: 6, size: 'max' })
  .filter(options => options.flatMap(optionBytes).length <= 40)
const packets = fc.record({
  options,
  payload: fc.uint8Array({ minLength: 1, maxLength: 3000, size: 'max' }),
  mtu: fc.integer({ min: MIN_MTU, max: 1600 }),
  more: fc.boolean(),
  units: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 7000 })),
  id: fc.nat(0xffff),
})

test('fragments fit, are valid, and make the packet again', () => {
  fc.assert(
    fc.property(packets, ({ options, payload, mtu, more, units, id }) => {
      const whole = buffer(4096)
      const fields = {
        options: Uint8Array.from(options.flatMap(optionBytes)),
        payload,
        id,
        tos: 0x28,
        ttl: 17,
      }
      const length = writePacket(whole, 9, { ...fields, fragment: (more ? 0x2000 : 0) | units })
      const before = whole.bytes.slice()
      const count = planFragments(whole, 9, mtu)
      if (length <= mtu) return assert.equal(count, 1)
      assert.ok(count > 1)
      const target = buffer(mtu + 40)
      const assembled: number[] = []
      for (let index = 0; index < count; index++) {
        target.bytes.fill(0xaa)
        const size = writeFragment(whole, 9, mtu, index, target, 20)
        const last = index === count - 1
        assert.ok(size <= mtu)
        assert.equal(validate(target.bytes, target.view, 20, size), IPV4.ok)
        assert.equal(totalLength(target.view, 20), size)
        assert.ok(target.bytes.subarray(0, 20).every(byte => byte === 0xaa))
        assert.ok(target.bytes.subarray(20 + size).every(byte => byte === 0xaa))
        assert.equal(fragmentOffset(target.view, 20), units * 8 + assembled.length)
        assert.equal(moreFragments(target.view, 20), !last || more)
        // All but lengths, flags, offset and checksum are the packet's own.
        for (const at of [1, 4, 5, 8, 9, 12, 13, 14, 15, 16, 17, 18, 19]) {
          assert.equal(target.bytes[20 + at], whole.bytes[9 + at])
        }
        const header = headerLength(target.view, 20)
        const carried = Uint8Array.from(
          (index === 0 ? options : options.filter(option => option.type >= 128)).flatMap(optionBytes),
        )
        const expected = new Uint8Array(Math.ceil(carried.length / 4) * 4)
        expected.set(carried)
        assert.deepEqual(target.bytes.slice(40, 20 + header), expected)
        const data = target.bytes.subarray(20 + header, 20 + size)
        assert.ok(data.length > 0)
        if (!last) {
          assert.equal(data.length % 8, 0)
          assert.ok(size + 8 > mtu, 'no more fragments than needed')
        }
        assembled.push(...data)
      }
      assert.deepEqual(Uint8Array.from(assembled), payload)
      assert.deepEqual(whole.bytes, before)
    }),
    { numRuns: 500 },
  )
})

test('what must not or cannot be fragmented is not', () => {
  const planned = (fields: Parameters<typeof makePacket>[0], mtu = 576) => {
    const whole = buffer(70_000)
    writePacket(whole, 0, fields)
    return planFragments(whole, 0, mtu)
  }
  const payload = new Uint8Array(1000)
  assert.equal(planned({ payload }), 2)
  assert.equal(planned({ payload, fragment: 0x4000 }), 0, '"don\'t fragment" is set')
  assert.equal(planned({ payload, fragment: 0x4000 }, 1020), 1)
  assert.equal(planned({ payload }, MIN_MTU), 21)
  assert.equal(planned({ payload }, MIN_MTU - 1), 0)
  assert.equal(planned({ payload, fragment: 8192 - 125 }), 2, 'up to the last unit')
  assert.equal(planned({ payload, fragment: 8192 - 124 }), 0, 'beyond the last unit')
  assert.equal(planned({ payload, options: Uint8Array.of(7, 1, 0, 0) }), 0, 'an option shorter than its head')
  assert.equal(planned({ payload, options: Uint8Array.of(7, 9, 4, 0) }), 0, 'an option beyond the header')
  assert.equal(planned({ payload, options: Uint8Array.of(1, 1, 1, 7) }), 0, 'an option without a length')
  assert.equal(
    planned({ payload: payload.map(() => 2), options: Uint8Array.of(1, 1, 1, 7) }),
    0,
    'an option whose length would be payload',
  )
  assert.equal(
    planned({ payload, options: Uint8Array.of(7, 2, 1, 7, 5, 0, 0, 0) }),
    2,
    'nothing but its head',
  )
  assert.equal(
    planned({ payload, options: Uint8Array.of(0, 7, 1, 1) }),
    2,
    'nothing counts after the end of the list',
  )
})
