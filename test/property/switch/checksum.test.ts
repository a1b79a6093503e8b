// The checksums of IP, TCP and UDP.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { wordSum } from '../../../node/switch/checksum.ts'
import { checksum } from '../../../node/switch/ipv4.ts'
import { buffer, sumOf } from '../../unit/switch-pure/packets.ts'

test('the checksum is that of RFC 1071, wherever the bytes lie', () => {
  const bytes = fc.uint8Array({ maxLength: 3000, size: 'max' })
  fc.assert(
    fc.property(bytes, fc.nat(9), (bytes, offset) => {
      const memory = new Uint8Array(bytes.length + 20).fill(0x5a)
      memory.set(bytes, offset)
      assert.equal(checksum(memory, offset, bytes.length), sumOf(bytes))
    }),
  )
})

test('the fast sum is that of RFC 1071, wherever the bytes lie', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 3000, size: 'max' }),
      fc.nat(9),
      fc.boolean(),
      (bytes, offset, full) => {
        if (full) bytes.fill(0xff)
        const memory = buffer(bytes.length + 20)
        memory.bytes.fill(0x5a)
        memory.bytes.set(bytes, offset)
        // 0 and 0xffff are the same number in one's complement.
        assert.equal((0xffff - wordSum(memory.view, offset, bytes.length)) % 0xffff, sumOf(bytes) % 0xffff)
      },
    ),
  )
})
