import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { checksum } from '../../../node/switch/ipv4.ts'
import { sumOf } from '../../unit/switch-pure/packets.ts'

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
