import assert from 'node:assert/strict'
import { test } from 'node:test'
import { pooledRandomBytes } from '../../../node/random.ts'

test('no random byte is given twice, whatever sizes are asked for', () => {
  const random = pooledRandomBytes()
  const seen = new Set<string>()
  let count = 0
  for (const size of [16, 32, 8, 4096, 1000, 5000]) {
    for (let i = 0; i < 500; i++) {
      const bytes = random(size)
      assert.equal(bytes.length, size)
      // Eight bytes that were there before would be chance once in 10^13 runs.
      seen.add(Buffer.from(bytes.subarray(-8)).toString('hex'))
      count++
    }
  }
  assert.equal(seen.size, count)
  assert.equal(random(0).length, 0)
})

test('what is given belongs to who asked', () => {
  const random = pooledRandomBytes()
  const first = random(16)
  const copy = Uint8Array.from(first)
  for (let i = 0; i < 1000; i++) random(16).fill(7)
  assert.deepEqual(first, copy)
})
