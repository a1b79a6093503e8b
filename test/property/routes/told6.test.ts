// IPv6 prefixes as clients are told them: all of what is routed but what has to stay beside the tunnel, in one piece each.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { told6 } from '../../../node/told6.ts'
import {
  type Address6,
  type Cidr6,
  cidr6Contains,
  cidr6Range,
  formatCidr6,
  parseAddress6,
  parseCidr6,
} from '../../../state/address6.ts'

const six = (text: string): Cidr6 => parseCidr6(text)!
const host = (text: string): Address6 => parseAddress6(text)!
const texts = (prefixes: readonly Cidr6[]) => prefixes.map(formatCidr6)
const size = (prefixes: readonly Cidr6[]) =>
  prefixes.reduce((sum, { length }) => sum + (1n << BigInt(128 - length)), 0n)

test('a prefix without a controller in it is told as it is; all of the Internet as its halves', () => {
  const outside = [host('2001:db8:1::1')]
  assert.deepEqual(texts(told6(six('2001:db8:5::/48'), outside)), ['2001:db8:5::/48'])
  assert.deepEqual(texts(told6(six('fd00:5::/64'), outside)), ['fd00:5::/64'])
  assert.deepEqual(texts(told6(six('::/0'), [])), ['2000::/4', '3000::/4'])
  assert.deepEqual(texts(told6(six('2000::/3'), [])), ['2000::/3'])
  assert.deepEqual(told6(six('2001:db8:1::1/128'), outside), [])
})

test('the pieces are all of the prefix but what is left out, and meet nowhere', () => {
  const address = fc
    .tuple(
      fc.constantFrom('2001:db8:1::', '2001:db8:1:2::', '3fff::', 'fd00:5::'),
      fc.integer({ min: 0, max: 3 }),
    )
    .map(([base, low]) => host(`${base}${low}`))
  const prefix = fc.constantFrom(
    '::/0',
    '2000::/3',
    '2001:db8::/32',
    '2001:db8:1::/48',
    '2001:db8:1:2::/64',
    'fd00:5::/126',
  )
  fc.assert(
    fc.property(prefix.map(six), fc.array(address, { maxLength: 5 }), (cidr, outside) => {
      const pieces = told6(cidr, outside)
      const sorted = pieces.map(cidr6Range).sort((a, b) => (a.first < b.first ? -1 : 1))
      for (const [i, { first }] of sorted.entries()) if (i > 0) assert.ok(sorted[i - 1].end <= first)
      for (const each of outside) assert.ok(!pieces.some(piece => cidr6Contains(piece, each)))
      const length = cidr.length < 16 ? 64 : 128
      const holes = outside
        .filter(each => cidr6Contains(cidr.length === 0 ? six('2000::/3') : cidr, each))
        .map(each => six(`${formatCidr6({ address: each, length: 128 }).slice(0, -4)}/${length}`))
      const distinct = [...new Map(holes.map(each => [formatCidr6(each), each])).values()]
      const whole = cidr.length === 0 ? six('2000::/3') : cidr
      assert.equal(size(pieces) + size(distinct), size([whole]))
      assert.ok(pieces.length <= 2 + 125 * distinct.length)
    }),
    { numRuns: 300 },
  )
})
