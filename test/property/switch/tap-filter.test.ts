// Filters of captures against one that is written as one would say it.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { DISSECTED, DISSECTED_WORDS, dissect } from '../../../node/switch/dissect.ts'
import {
  encodeFilter,
  MAX_GROUPS,
  MAX_PREFIXES,
  matchesFilter,
  type TapFilter,
} from '../../../node/switch/tap-filter.ts'
import { cidrContains, cidrMask } from '../../../state/address.ts'
import { type Address6, cidr6Contains, cidr6Mask } from '../../../state/address6.ts'
import { makePacket } from '../../unit/switch-pure/packets.ts'

// Few addresses, ports and protocols, so that filters match about as often as not.
const four = fc.constantFrom(0x0a4d0002, 0x0a4d0003, 0x0a4e0001, 0xc0a80501)
const six: fc.Arbitrary<Address6> = fc
  .tuple(fc.constantFrom(0xfd000077, 0x20010db8), fc.constantFrom(2, 0x80000003))
  .map(([high, low]) => [high, 0, 0, low])
const protocol = fc.constantFrom(1, 6, 17, 58, 132, 47)
const port = fc.constantFrom(53, 443, 40_000)

const place = fc.oneof(
  fc.record({ kind: fc.constant('tun' as const) }),
  fc.record({ kind: fc.constant('session' as const), address: four, peerId: fc.constantFrom(5, 6) }),
  fc.record({ kind: fc.constant('link' as const), peerId: fc.constantFrom(0xf00001, 0xf00002) }),
)
const packet = fc.record({
  version: fc.constantFrom(4, 6),
  source: four,
  destination: four,
  source6: six,
  destination6: six,
  protocol,
  ports: fc.tuple(port, port),
  later: fc.boolean(),
  place,
  dropped: fc.boolean(),
})
type Packet = typeof packet extends fc.Arbitrary<infer T> ? T : never

const cidr = fc
  .record({ address: four, length: fc.constantFrom(0, 8, 16, 31, 32) })
  .map(({ address, length }) => ({
    address: (address & cidrMask(length)) >>> 0,
    length,
  }))
const cidr6 = fc
  .record({ address: six, length: fc.constantFrom(0, 32, 64, 127, 128) })
  .map(({ address, length }) => ({
    address: address.map((word, i) => (word & cidr6Mask(length)[i]) >>> 0) as unknown as Address6,
    length,
  }))
const filter: fc.Arbitrary<TapFilter> = fc.record({
  port: fc.option(
    fc.oneof(
      fc.constant('tun' as const),
      four.map(session => ({ session })),
      fc.constantFrom(0xf00001, 0xf00002).map(link => ({ link })),
    ),
    { nil: undefined, freq: 2 },
  ),
  networks: fc.array(
    fc.record({ four: fc.array(cidr, { maxLength: 3 }), six: fc.array(cidr6, { maxLength: 3 }) }),
    { maxLength: 2 },
  ),
  protocol: fc.option(fc.oneof(protocol, fc.constant('icmp' as const)), { nil: undefined, freq: 2 }),
  transportPort: fc.option(port, { nil: undefined, freq: 2 }),
  dropped: fc.boolean(),
  snap: fc.constant(0),
})

function bytesOf(given: Packet): Uint8Array {
  const payload = new Uint8Array(24)
  const view = new DataView(payload.buffer)
  view.setUint16(0, given.ports[0])
  view.setUint16(2, given.ports[1])
  if (given.version === 4) {
    const { source, destination, later } = given
    return makePacket({ source, destination, protocol: given.protocol, fragment: later ? 100 : 0, payload })
  }
  const bytes = new Uint8Array(72)
  const words = new DataView(bytes.buffer)
  words.setUint32(0, 0x60000000)
  words.setUint16(4, 32)
  bytes[6] = 44
  bytes[40] = given.protocol
  words.setUint16(42, given.later ? 800 : 0)
  for (let i = 0; i < 4; i++) {
    words.setUint32(8 + 4 * i, given.source6[i])
    words.setUint32(24 + 4 * i, given.destination6[i])
  }
  bytes.set(payload, 48)
  return bytes
}

function naive(wanted: TapFilter, given: Packet): boolean {
  if (wanted.dropped !== given.dropped) return false
  const { port, networks, protocol, transportPort } = wanted
  const at = given.place
  if (port === 'tun' && at.kind !== 'tun') return false
  if (
    typeof port === 'object' &&
    'session' in port &&
    !(at.kind === 'session' && at.address === port.session)
  )
    return false
  if (typeof port === 'object' && 'link' in port && !(at.kind === 'link' && at.peerId === port.link))
    return false
  const icmp = given.version === 4 ? 1 : 58
  if (protocol !== undefined && given.protocol !== (protocol === 'icmp' ? icmp : protocol)) return false
  const hasPorts = [6, 17, 132].includes(given.protocol) && !given.later
  if (transportPort !== undefined && !(hasPorts && (given.ports as number[]).includes(transportPort)))
    return false
  return networks.every(each =>
    given.version === 4
      ? each.four.some(net => cidrContains(net, given.source) || cidrContains(net, given.destination))
      : each.six.some(net => cidr6Contains(net, given.source6) || cidr6Contains(net, given.destination6)),
  )
}

function asked(wanted: TapFilter, given: Packet): boolean {
  const bytes = bytesOf(given)
  const buffer = { bytes, view: new DataView(bytes.buffer) }
  const found = new Int32Array(DISSECTED_WORDS)
  dissect(buffer, 0, bytes.length, found)
  const { place } = given
  const peerId = place.kind === 'tun' ? -1 : place.peerId
  const address = place.kind === 'session' ? place.address : 0
  const isLink = place.kind === 'link'
  const encoded = encodeFilter(wanted)
  return matchesFilter(encoded, peerId, address, isLink, given.dropped, buffer, 0, bytes.length, found)
}

test('a filter takes what it says, and nothing else', () => {
  let taken = 0
  fc.assert(
    fc.property(filter, packet, (wanted, given) => {
      const expected = naive(wanted, given)
      if (expected) taken++
      assert.equal(asked(wanted, given), expected)
    }),
    { numRuns: 5000 },
  )
  assert.ok(taken > 100, `only ${taken} were ever taken`)
})

test('whatever the bytes are, nothing outside them is looked at', () => {
  const start = fc.constantFrom(0x45, 0x4f, 0x46, 0x40, 0x60, 0x6f)
  const hostile = fc
    .tuple(
      start,
      fc.uint8Array({ maxLength: 120 }),
      fc.constantFrom(0, 6, 17, 43, 44, 51, 58, 60),
      fc.boolean(),
    )
    .map(([first, rest, next, isPlain]) => {
      const bytes = Uint8Array.of(first, ...rest)
      // Headers that lead on to more headers.
      if (isPlain && bytes.length > 9) bytes[first >> 4 === 4 ? 9 : 6] = next
      return bytes
    })
  fc.assert(
    fc.property(hostile, filter, (bytes, wanted) => {
      // A view of just these bytes throws at the first one beyond them.
      const own = bytes.slice()
      const buffer = { bytes: own, view: new DataView(own.buffer) }
      const found = new Int32Array(DISSECTED_WORDS)
      dissect(buffer, 0, own.length, found)
      assert.ok(found[DISSECTED.headers] >= 1 && found[DISSECTED.headers] <= own.length)
      assert.ok(found[DISSECTED.transport] <= found[DISSECTED.headers])
      matchesFilter(encodeFilter(wanted), 5, 1, false, wanted.dropped, buffer, 0, own.length, found)
    }),
    { numRuns: 3000 },
  )
})

test('more than a filter may hold is refused', () => {
  const none = { networks: [], dropped: false, snap: 0 }
  const net = { address: 0, length: 32 }
  const groups = Array.from({ length: MAX_GROUPS + 1 }, () => ({ four: [net], six: [] }))
  assert.throws(() => encodeFilter({ ...none, networks: groups }), RangeError)
  const many = [{ four: Array.from({ length: MAX_PREFIXES + 1 }, () => net), six: [] }]
  assert.throws(() => encodeFilter({ ...none, networks: many }), RangeError)
  encodeFilter({ ...none, networks: groups.slice(1) })
})
