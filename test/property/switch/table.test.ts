import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { encodeRoutes, ForwardingTable, NEXT_HOP, type TableRoute } from '../../../node/switch/table.ts'
import { cidrContains } from '../../../state/address.ts'

/** The longest prefix that covers the address, the last of equals. */
function naiveLookup(routes: readonly TableRoute[], address: number): number {
  let best: TableRoute | undefined
  for (const route of routes) {
    if (cidrContains(route, address) && (best === undefined || route.length >= best.length)) best = route
  }
  return best?.nextHop ?? NEXT_HOP.none
}

const nextHop = fc.oneof(
  fc.integer({ min: 0, max: 100_000 }),
  fc.constantFrom(NEXT_HOP.tun, NEXT_HOP.local, NEXT_HOP.unreachable),
)
// Few distinct high and low parts make prefixes nest, touch and repeat; the ends of the address space are among them.
const clustered = fc
  .tuple(
    fc.constantFrom(0, 0x0a4d, 0x7fff, 0x8000, 0xc0a8, 0xffff),
    fc.constantFrom(0, 1, 0x7f, 0xff),
    fc.nat(255),
  )
  .map(([high, third, last]) => high * 0x10000 + third * 256 + last)
const address = fc.oneof(clustered, clustered, fc.integer({ min: 0, max: 0xffffffff }))
const length = fc.oneof(fc.integer({ min: 0, max: 32 }), fc.constantFrom(24, 31, 32, 32))
const routes = fc.array(fc.record({ address, length, nextHop }), { maxLength: 60, size: 'max' })

test('a lookup answers the longest prefix', () => {
  fc.assert(
    fc.property(routes, fc.array(address, { maxLength: 40, size: 'max' }), (routes, addresses) => {
      const table = ForwardingTable.build(routes)
      const edges = routes.flatMap(({ address, length }) => {
        const span = 2 ** (32 - length)
        const first = Math.floor(address / span) * span
        return [first - 1, first, first + span - 1, first + span].filter(edge => edge >= 0 && edge < 2 ** 32)
      })
      for (const asked of [...addresses, ...edges, 0, 0x7fffffff, 0x80000000, 0xffffffff]) {
        assert.equal(table.lookup(asked), naiveLookup(routes, asked), `address ${asked}`)
        assert.equal(table.lookup(asked | 0), table.lookup(asked), 'the same bits as a signed number')
      }
    }),
    { numRuns: 800 },
  )
})

test('a table survives the way to another thread', () => {
  fc.assert(
    fc.property(routes, fc.array(address, { maxLength: 10 }), (routes, addresses) => {
      const encoded = encodeRoutes(routes)
      const moved = structuredClone(encoded, { transfer: [encoded.buffer] })
      const table = ForwardingTable.fromEncoded(moved)
      for (const asked of addresses) assert.equal(table.lookup(asked), naiveLookup(routes, asked))
    }),
  )
})
