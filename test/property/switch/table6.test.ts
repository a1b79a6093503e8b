import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { encodeRoutes, MAX_ROUTES, NEXT_HOP } from '../../../node/switch/table.ts'
import { encodeRoutes6, ForwardingTable6, type TableRoute6 } from '../../../node/switch/table6.ts'
import { type Address6, cidr6Contains, parseCidr6 } from '../../../state/address6.ts'

/** Whether the first `length` bits are equal, bit by bit. */
function covers(route: TableRoute6, address: Address6): boolean {
  const bits = (words: Address6) => words.map(word => word.toString(2).padStart(32, '0')).join('')
  return bits(route.address).slice(0, route.length) === bits(address).slice(0, route.length)
}

/** The longest prefix that covers the address, the last of equals. */
function naiveLookup(routes: readonly TableRoute6[], address: Address6): number {
  let best: TableRoute6 | undefined
  for (const route of routes) {
    if (covers(route, address) && (best === undefined || route.length >= best.length)) best = route
  }
  return best?.nextHop ?? NEXT_HOP.none
}

const nextHop = fc.oneof(
  fc.integer({ min: 0, max: 100_000 }),
  fc.constantFrom(NEXT_HOP.tun, NEXT_HOP.local, NEXT_HOP.unreachable),
)
// Few distinct words make prefixes nest, touch and repeat; words with the top bit set are among them.
const word = fc.oneof(
  fc.constantFrom(0, 1, 0x7fffffff, 0x80000000, 0xfd000077, 0xffffffff),
  fc.integer({ min: 0, max: 0xffffffff }),
)
const address: fc.Arbitrary<Address6> = fc.tuple(word, word, word, word)
const length = fc.oneof(fc.integer({ min: 0, max: 128 }), fc.constantFrom(0, 32, 48, 64, 96, 127, 128))
const routes = fc.array(fc.record({ address, length, nextHop }), { maxLength: 40, size: 'max' })

function at(address: Address6, offset: number): DataView {
  const view = new DataView(new ArrayBuffer(offset + 16))
  for (const [i, part] of address.entries()) view.setUint32(offset + 4 * i, part)
  return view
}

/** The address `by` further, around the ends. */
function moved(words: Address6, by: bigint): Address6 {
  const number = BigInt.asUintN(128, words.reduce((sum, part) => (sum << 32n) | BigInt(part), 0n) + by)
  const part = (shift: bigint) => Number((number >> shift) & 0xffffffffn)
  return [part(96n), part(64n), part(32n), part(0n)]
}

test('a lookup answers the longest prefix', () => {
  fc.assert(
    fc.property(routes, fc.array(address, { maxLength: 20 }), (routes, addresses) => {
      const table = ForwardingTable6.build(routes)
      const edges = routes.flatMap(({ address, length }) => {
        const span = 1n << BigInt(128 - length)
        const number = address.reduce((sum, part) => (sum << 32n) | BigInt(part), 0n)
        const first = moved([0, 0, 0, 0], (number / span) * span)
        return [moved(first, -1n), first, moved(first, span - 1n), moved(first, span)]
      })
      for (const asked of [...addresses, ...edges])
        assert.equal(table.lookup(at(asked, 3), 3), naiveLookup(routes, asked), asked.join(':'))
    }),
    { numRuns: 500 },
  )
})

test('a table survives the way to another thread', () => {
  fc.assert(
    fc.property(routes, fc.array(address, { maxLength: 10 }), (routes, addresses) => {
      const encoded = encodeRoutes6(routes)
      const table = ForwardingTable6.fromEncoded(structuredClone(encoded, { transfer: [encoded.buffer] }))
      for (const asked of addresses) assert.equal(table.lookup(at(asked, 0), 0), naiveLookup(routes, asked))
    }),
  )
})

test('what is no route and no table is refused', () => {
  const route = { ...parseCidr6('2001:db8::/32')!, nextHop: 5 }
  for (const bad of [
    { ...route, length: 129 },
    { ...route, length: -1 },
    { ...route, nextHop: NEXT_HOP.none },
    { ...route, length: 1.5 },
    { ...route, nextHop: 1.5 },
    { ...route, nextHop: NEXT_HOP.unreachable - 1 },
    { ...route, nextHop: 2 ** 31 },
    ...[-1, 1.5, 2 ** 32].map(word => ({ ...route, address: [1, 2, 3, word] as Address6 })),
    { ...route, address: [1, 2, 3] as unknown as Address6 },
  ])
    assert.throws(() => encodeRoutes6([bad]), /^RangeError: not a route/)
  assert.throws(() => encodeRoutes6(new Array(MAX_ROUTES + 1).fill(route)), /^RangeError: 1048577 routes/)
  const good = encodeRoutes6([{ ...route, nextHop: 2 ** 31 - 1 }])
  assert.equal(ForwardingTable6.fromEncoded(good).lookup(at(route.address, 0), 0), 2 ** 31 - 1)
  for (const bad of [
    good.subarray(1),
    good.subarray(0, -1),
    Int32Array.of(...good, 0),
    Int32Array.of(good[0] ^ 1, ...good.subarray(1)),
    Int32Array.of(good[0], 0),
    encodeRoutes([]),
    new Int32Array(),
  ])
    assert.throws(() => ForwardingTable6.fromEncoded(bad), /^RangeError: not an encoded/)
})

test('a prefix contains what has its bits', () => {
  fc.assert(
    fc.property(address, length, address, (network, length, asked) => {
      const text = parseCidr6(
        `${network.map(part => `${(part >>> 16).toString(16)}:${(part & 0xffff).toString(16)}`).join(':')}/${length}`,
      )!
      assert.equal(cidr6Contains(text, asked), covers({ address: network, length, nextHop: 1 }, asked))
    }),
  )
})
