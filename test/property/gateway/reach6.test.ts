import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type AddressRange6, reach6Of } from '../../../node/gateway/reach6.ts'
import { type Cidr6, cidr6Covers, cidr6Range, formatCidr6, parseCidr6 } from '../../../state/address6.ts'

const six = (text: string): Cidr6 => parseCidr6(text)!
const SUBNET = six('fd00:77::/64')
const INTERNET = six('2000::/3')

/** Few distinct prefixes, so that they nest, touch and repeat. */
const prefix: fc.Arbitrary<Cidr6> = fc
  .record({
    base: fc.constantFrom('::', 'fd00:77::', 'fd00:76::', '2001:db8:5::', '2001:db8:6::', 'fe80::', 'ffff::'),
    length: fc.oneof(fc.integer({ min: 0, max: 128 }), fc.constantFrom(0, 3, 4, 15, 16, 48, 64)),
  })
  .map(({ base, length }) => six(`${base}/${length}`))
const prefixes = fc.array(prefix, { maxLength: 12 })

/** The rule as it is told to people, one address at a time. */
function expected(
  address: bigint,
  own: readonly Cidr6[],
  hidden: readonly Cidr6[],
  elsewhere: readonly Cidr6[],
) {
  const has = (cidr: Cidr6): boolean => {
    const { first, end } = cidr6Range(cidr)
    return first <= address && address < end
  }
  if (has(SUBNET)) return 'closed'
  const means = (cidr: Cidr6) =>
    cidr.length >= 16 || cidr6Covers(INTERNET, cidr) || (cidr6Covers(cidr, INTERNET) && has(INTERNET))
  const longest = (list: readonly Cidr6[]): number =>
    Math.max(-1, ...list.filter(each => has(each) && means(each)).map(({ length }) => length))
  const [forwarded, masqueraded] = [longest(own), longest(hidden)]
  const length = Math.max(forwarded, masqueraded)
  if (length < 0 || longest(elsewhere) > length) return 'closed'
  return masqueraded >= forwarded ? 'masqueraded' : 'forwarded'
}

const includes = (ranges: readonly AddressRange6[], address: bigint): boolean =>
  ranges.some(({ first, last }) => first <= address && address <= last)

test('for each IPv6 address the longest prefix decides; ranges are disjoint, in order and joined', () => {
  fc.assert(
    fc.property(prefixes, prefixes, prefixes, (forwarded, masqueraded, elsewhere) => {
      const reach = reach6Of(forwarded, masqueraded, SUBNET, elsewhere)
      for (const ranges of [reach.forwarded, reach.masqueraded]) {
        ranges.forEach(({ first, last }, i) => {
          assert.ok(0n <= first && first <= last && last < 1n << 128n)
          if (i > 0) assert.ok(ranges[i - 1].last + 1n < first)
        })
      }
      // Where the answer can change: both sides of every edge.
      for (const each of [...forwarded, ...masqueraded, ...elsewhere, INTERNET, SUBNET]) {
        const { first, end } = cidr6Range(each)
        for (const address of [first - 1n, first, end - 1n, end]) {
          if (address < 0n || address >= 1n << 128n) continue
          const isForwarded = includes(reach.forwarded, address)
          const isMasqueraded = includes(reach.masqueraded, address)
          assert.ok(!(isForwarded && isMasqueraded))
          const found = isForwarded ? 'forwarded' : isMasqueraded ? 'masqueraded' : 'closed'
          assert.equal(
            found,
            expected(address, forwarded, masqueraded, elsewhere),
            `${address.toString(16)} of ${formatCidr6(each)}`,
          )
        }
      }
    }),
    { numRuns: 500 },
  )
})
