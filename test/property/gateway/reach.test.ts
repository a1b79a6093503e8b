import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type AddressRange, reachOf } from '../../../node/gateway/reach.ts'
import { type Cidr, cidrContains, cidrLast, cidrMask, parseCidr, parseIpv4 } from '../../../state/address.ts'

const SUBNET = parseCidr('10.77.0.0/16')!
const SPECIAL = [
  ...['0.0.0.0/8', '10.0.0.0/8', '100.64.0.0/10', '127.0.0.0/8', '169.254.0.0/16'],
  ...['172.16.0.0/12', '192.168.0.0/16', '224.0.0.0/4', '240.0.0.0/4'],
].map(text => parseCidr(text)!)

/** Few distinct prefixes, so that they nest, touch and repeat. */
const prefix: fc.Arbitrary<Cidr> = fc
  .record({
    base: fc.constantFrom(
      '0.0.0.0',
      '10.77.0.0',
      '10.76.0.0',
      '172.16.0.0',
      '192.168.4.0',
      '203.0.113.0',
      '255.255.255.255',
    ),
    length: fc.integer({ min: 0, max: 32 }),
    flip: fc.integer({ min: 0, max: 31 }),
  })
  .map(({ base, length, flip }) => ({
    address: ((parseIpv4(base)! ^ (1 << flip)) & cidrMask(length)) >>> 0,
    length,
  }))
const prefixes = fc.array(prefix, { maxLength: 12 })

/** The rule as it is told to people, one address at a time. */
function expected(
  address: number,
  forwarded: readonly Cidr[],
  masqueraded: readonly Cidr[],
  elsewhere: readonly Cidr[],
): string {
  if (cidrContains(SUBNET, address)) return 'closed'
  const longest = (list: readonly Cidr[]): number =>
    Math.max(-1, ...list.filter(each => cidrContains(each, address)).map(each => each.length))
  const [own, hidden] = [longest(forwarded), longest(masqueraded)]
  const length = Math.max(own, hidden)
  if (longest(elsewhere) > length) return 'closed'
  if (length < 8 && SPECIAL.some(each => each.length > length && cidrContains(each, address))) return 'closed'
  return length < 0 ? 'closed' : hidden >= own ? 'masqueraded' : 'forwarded'
}

const has = (ranges: readonly AddressRange[], address: number): boolean =>
  ranges.some(({ first, last }) => first <= address && address <= last)

test('for each address the longest prefix decides; ranges are disjoint, in order and joined', () => {
  fc.assert(
    fc.property(prefixes, prefixes, prefixes, (forwarded, masqueraded, elsewhere) => {
      const reach = reachOf(forwarded, masqueraded, SUBNET, elsewhere)
      for (const ranges of [reach.forwarded, reach.masqueraded]) {
        ranges.forEach(({ first, last }, i) => {
          assert.ok(0 <= first && first <= last && last <= 0xffffffff)
          if (i > 0) assert.ok(ranges[i - 1].last + 1 < first)
        })
      }
      // Where the answer can change: both sides of every edge.
      const edges = [...forwarded, ...masqueraded, ...elsewhere, ...SPECIAL, SUBNET].flatMap(each => [
        each.address,
        cidrLast(each),
      ])
      for (const edge of edges) {
        for (const address of [edge - 1, edge, edge + 1]) {
          if (address < 0 || address > 0xffffffff) continue
          const inForwarded = has(reach.forwarded, address)
          const inMasqueraded = has(reach.masqueraded, address)
          assert.ok(!(inForwarded && inMasqueraded))
          const found = inForwarded ? 'forwarded' : inMasqueraded ? 'masqueraded' : 'closed'
          assert.equal(found, expected(address, forwarded, masqueraded, elsewhere), `${address}`)
        }
      }
    }),
    { numRuns: 500 },
  )
})
