import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  formatBytes,
  formatDuration,
  formatExpiry,
  formatSince,
  jsonText,
  oneLine,
  printable,
} from '../../../node/cli/text.ts'

test('bytes in decimal units', () => {
  const cases: [number, string][] = [
    [0, '0 B'],
    [999, '999 B'],
    [1000, '1.0 kB'],
    [1_234_567, '1.2 MB'],
    [999_949, '999.9 kB'],
    [999_950, '1.0 MB'],
    [5e15, '5.0 PB'],
    [5e18, '5000.0 PB'],
  ]
  for (const [bytes, text] of cases) assert.equal(formatBytes(bytes), text)
})

test('durations in their two largest units', () => {
  const cases: [number, string][] = [
    [-3, '0s'],
    [42.9, '42s'],
    [200, '3m 20s'],
    [18_000, '5h 0m'],
    [12 * 86400 + 4 * 3600, '12d 4h'],
  ]
  for (const [seconds, text] of cases) assert.equal(formatDuration(seconds), text)
})

test('instants as distances', () => {
  const now = Date.parse('2026-01-02T00:00:00Z')
  assert.equal(formatSince('2026-01-01T23:59:00Z', now), '1m 0s')
  assert.equal(formatSince(null, now), '-')
  assert.equal(formatSince('garbage', now), '-')
  assert.equal(formatExpiry('2026-01-12T00:00:00Z', now), '2026-01-12 (in 10d)')
  assert.equal(formatExpiry('2026-01-02T01:00:00Z', now), '2026-01-02 (today)')
  assert.equal(formatExpiry('2026-01-01T00:00:00Z', now), '2026-01-01 (expired)')
})

test('nothing that a terminal obeys gets through, and JSON stays the same document', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), text => {
      assert.doesNotMatch(printable(text), /[\u0000-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/)
      assert.doesNotMatch(oneLine(text), /[\r\n\u001b\u009b]/)
      const json = jsonText({ text, list: [text] }, 2)
      assert.doesNotMatch(json.replaceAll('\n', ''), /[\u0000-\u001f\u007f-\u009f\u202a-\u202e]/)
      assert.deepEqual(JSON.parse(json), { text, list: [text] })
    }),
  )
})
