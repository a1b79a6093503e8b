import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  cidrContains,
  cidrLast,
  cidrSize,
  formatIpv4,
  type OverlayAddress,
  parseCidr,
} from '../../../state/address.ts'
import {
  type AddressView,
  blockLengthFor,
  checkAddress,
  gatewayOf,
  LONGEST_SUBNET,
  nextAddress,
  ownerOf,
  SHORTEST_SUBNET,
} from '../../../state/allocator.ts'
import { identity } from '../../unit/state/samples.ts'

function view(subnet: string, controllers: number, leased: Set<number> = new Set()): AddressView {
  const cidr = parseCidr(subnet)!
  return {
    subnet: cidr,
    blockLength: blockLengthFor(cidr),
    controllers: Array.from({ length: controllers }, (_, i) => identity(i).id),
    isLeased: address => leased.has(address),
  }
}

const subnet = fc
  .tuple(fc.integer({ min: SHORTEST_SUBNET, max: LONGEST_SUBNET }), fc.integer({ min: 0, max: 0xffff }))
  .map(
    ([length, n]) =>
      `${formatIpv4((((10 << 24) | (n << 4)) >>> 0) & (0xffffffff << (32 - length)))}/${length}`,
  )

test('halves of a partition hand out disjoint addresses', () => {
  fc.assert(
    fc.property(
      subnet,
      fc.integer({ min: 2, max: 9 }),
      fc.array(fc.nat(8), { maxLength: 60 }),
      (text, controllers, requests) => {
        const handedOut = [new Set<number>(), new Set<number>()]
        for (const index of requests) {
          const self = index % controllers
          // Each controller is in one half for as long as it lasts.
          const side = handedOut[self % 2]
          const other = handedOut[1 - (self % 2)]
          const found = nextAddress(view(text, controllers, side), identity(self).id)
          if (!found.ok) continue
          assert.equal(other.has(found.address), false, formatIpv4(found.address))
          assert.equal(side.has(found.address), false)
          side.add(found.address)
        }
      },
    ),
    { numRuns: 60 },
  )
})

test('an address handed out may be handed out', () => {
  fc.assert(
    fc.property(subnet, fc.integer({ min: 1, max: 5 }), (text, controllers) => {
      const all = view(text, controllers)
      for (let i = 0; i < controllers; i++) {
        const found = nextAddress(all, identity(i).id)
        if (!found.ok) continue
        assert.deepEqual(checkAddress(all, found.address), { ok: true })
        assert.equal(ownerOf(all, found.address), identity(i).id)
      }
    }),
    { numRuns: 60 },
  )
})

test('one controller hands out every address but three, then says that the subnet is full', () => {
  for (const text of ['10.0.0.0/30', '10.0.0.8/29', '10.9.0.0/24', '10.9.0.0/20']) {
    const leased = new Set<number>()
    const all = view(text, 1, leased)
    for (;;) {
      const found = nextAddress(all, identity(0).id)
      if (!found.ok) {
        assert.equal(found.code, 'full')
        break
      }
      leased.add(found.address)
    }
    assert.equal(leased.size, cidrSize(all.subnet) - 3, text)
    for (const kept of [all.subnet.address, gatewayOf(all.subnet), cidrLast(all.subnet)])
      assert.equal(leased.has(kept), false)
    for (const address of leased) assert.ok(cidrContains(all.subnet, address))
  }
})

test('a controller whose blocks are full says who could still help', () => {
  const leased = new Set<number>()
  const all = view('10.9.0.0/28', 3, leased)
  for (let found = nextAddress(all, identity(0).id); found.ok; found = nextAddress(all, identity(0).id)) {
    leased.add(found.address)
  }
  const found = nextAddress(all, identity(0).id)
  assert.equal(found.ok ? '' : found.code, 'blocks-full')
})

test('blocks are spread evenly and a new controller takes only its share', () => {
  const before = view('10.0.0.0/8', 4)
  const after = view('10.0.0.0/8', 5)
  const counts = new Map<string, number>()
  let moved = 0
  for (let block = 0; block < 1024; block++) {
    const address = (before.subnet.address + block * 2 ** (32 - before.blockLength)) as OverlayAddress
    const owner = ownerOf(before, address)!
    counts.set(owner, (counts.get(owner) ?? 0) + 1)
    const next = ownerOf(after, address)!
    if (next !== owner) {
      assert.equal(next, identity(4).id)
      moved++
    }
  }
  for (const count of counts.values()) assert.ok(count > 180 && count < 340, String(count))
  assert.ok(moved > 130 && moved < 290, String(moved))
})

test('an address chosen by hand is refused with the reason', () => {
  const all = view('10.9.0.0/24', 1, new Set([0x0a090009]))
  const code = (address: number) => {
    const check = checkAddress(all, address as OverlayAddress)
    return check.ok ? 'ok' : check.code
  }
  assert.equal(code(0x0a090100), 'outside')
  assert.equal(code(0x0a090000), 'network')
  assert.equal(code(0x0a090001), 'gateway')
  assert.equal(code(0x0a0900ff), 'broadcast')
  assert.equal(code(0x0a090009), 'taken')
  assert.equal(code(0x0a09000a), 'ok')
})
