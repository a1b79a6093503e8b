import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  DESTINATION6,
  decrementHopLimit,
  hopLimit,
  IPV6,
  icmpOffset,
  isFragment6,
  isLinkLocal,
  isLinkScoped,
  isMulticast6,
  isUnicast6,
  isUnspecified,
  nextHeader,
  SOURCE6,
  totalLength6,
  validate6,
} from '../../../node/switch/ipv6.ts'
import { Overlay6 } from '../../../node/switch/overlay6.ts'
import { overlayAddress6, parseCidr6 } from '../../../state/address6.ts'
import { buffer, ip } from './packets.ts'
import { ip6, makePacket6 } from './packets6.ts'

const AT = 3

function placed(packet: Uint8Array) {
  const memory = buffer(AT + packet.length)
  memory.bytes.set(packet, AT)
  return memory
}

function verdict(packet: Uint8Array, length = packet.length): number {
  return validate6(placed(packet).view, AT, length)
}

test('a sound packet is, and its fields are read', () => {
  const packet = makePacket6({ payload: new Uint8Array(100), nextHeader: 6, hopLimit: 7 })
  const { view } = placed(packet)
  assert.equal(validate6(view, AT, packet.length), IPV6.ok)
  assert.equal(totalLength6(view, AT), 140)
  assert.equal(nextHeader(view, AT), 6)
  assert.equal(hopLimit(view, AT), 7)
  assert.equal(isUnicast6(view, AT + SOURCE6), true)
  assert.equal(isUnicast6(view, AT + DESTINATION6), true)
})

test('bytes behind the payload are allowed, missing ones are not', () => {
  const packet = makePacket6({ payload: new Uint8Array(10) })
  assert.equal(verdict(Uint8Array.of(...packet, 1, 2, 3)), IPV6.ok)
  for (let length = 0; length < packet.length; length++)
    assert.equal(verdict(packet, length), IPV6.tooShort, `${length} bytes`)
})

test('other versions and lengths that cannot be are told apart', () => {
  const four = makePacket6({})
  four[0] = 0x45
  assert.equal(verdict(four), IPV6.notIpv6)
  assert.equal(verdict(makePacket6({ payload: new Uint8Array(), nextHeader: 59 })), IPV6.ok)
  // A jumbogram's own length is in its hop-by-hop options.
  assert.equal(verdict(makePacket6({ payload: new Uint8Array(), nextHeader: 0 })), IPV6.badLength)
  assert.equal(verdict(makePacket6({ payload: new Uint8Array(), nextHeader: 17 })), IPV6.badLength)
})

test('a hop is taken off while one is left', () => {
  const { view } = placed(makePacket6({ hopLimit: 2 }))
  assert.equal(decrementHopLimit(view, AT), true)
  assert.equal(hopLimit(view, AT), 1)
  assert.equal(decrementHopLimit(view, AT), false)
  assert.equal(hopLimit(view, AT), 1)
  assert.equal(decrementHopLimit(placed(makePacket6({ hopLimit: 0 })).view, AT), false)
})

test('kinds of addresses', () => {
  const cases: [string, { multicast?: true; linkLocal?: true; unspecified?: true; unicast?: true }][] = [
    ['::', { unspecified: true }],
    ['::1', {}],
    ['::ffff:10.0.0.1', {}],
    ['ff02::2', { multicast: true }],
    ['ff0e::1', { multicast: true }],
    ['fe80::1', { linkLocal: true }],
    ['febf:ffff::1', { linkLocal: true }],
    ['fec0::1', { unicast: true }],
    ['fe00::1', { unicast: true }],
    ['fd00::1', { unicast: true }],
    ['2001:db8::', { unicast: true }],
  ]
  for (const [text, kind] of cases) {
    const { view } = placed(ip6(text))
    assert.equal(isMulticast6(view, AT), kind.multicast ?? false, text)
    assert.equal(isLinkLocal(view, AT), kind.linkLocal ?? false, text)
    assert.equal(isUnspecified(view, AT), kind.unspecified ?? false, text)
    assert.equal(isUnicast6(view, AT), kind.unicast ?? false, text)
  }
})

test('an address with any bit set is not the unspecified one', () => {
  for (let bit = 0; bit < 128; bit++) {
    const address = new Uint8Array(16)
    address[bit >> 3] = 1 << (bit & 7)
    assert.equal(isUnspecified(placed(address).view, AT), false, `bit ${bit}`)
  }
})

test('what is of one link, from nowhere or to more than one host is not forwarded', () => {
  const scoped = (source: string, destination: string): boolean =>
    isLinkScoped(placed(makePacket6({ source, destination })).view, AT)
  assert.equal(scoped('fd00::1', 'fd00::2'), false)
  for (const source of ['fe80::1', '::']) assert.equal(scoped(source, 'fd00::2'), true, source)
  for (const destination of ['fe80::1', '::', '::1', 'ff0e::1'])
    assert.equal(scoped('fd00::1', destination), true, destination)
})

/** A chain of extension headers, each of these kinds and lengths in bytes, and what follows the last. */
function chain(headers: readonly [kind: number, length: number][], last: number, rest = 0): Uint8Array {
  const kinds = [...headers.map(([kind]) => kind), last]
  const bytes = headers.flatMap(([kind, length], i) => {
    // A fragment header has no length: what stands there is reserved.
    const field = kind === 44 ? 9 : kind === 51 ? length / 4 - 2 : length / 8 - 1
    return [kinds[i + 1], field, ...new Array(length - 2).fill(0)]
  })
  return makePacket6({ nextHeader: kinds[0], payload: Uint8Array.of(...bytes, ...new Array(rest).fill(0)) })
}

test('a message is found behind extension headers, each by its own measure, and nothing is read behind the packet', () => {
  const find = (packet: Uint8Array): number => {
    const offset = icmpOffset(placed(packet).view, AT)
    return offset > 0 ? offset - AT : offset
  }
  assert.equal(find(chain([[51, 24]], 58, 8)), 64)
  assert.equal(find(chain([[51, 12]], 58, 8)), 52)
  assert.equal(
    find(
      chain(
        [
          [44, 8],
          [43, 24],
          [0, 8],
          [60, 16],
        ],
        58,
        8,
      ),
    ),
    96,
  )
  assert.equal(find(chain([[60, 8]], 17, 8)), 0, 'another protocol')
  assert.equal(find(chain([[60, 8]], 58)), 48, 'no message')
  const eight = new Array<[number, number]>(8).fill([60, 8])
  assert.equal(find(chain(eight, 58, 8)), 104)
  assert.equal(find(chain([...eight, [60, 8]], 58, 8)), -1, 'too many')
  for (let missing = 1; missing <= 16; missing++) {
    const packet = chain([[43, 24]], 58).subarray(0, 64 - missing)
    packet[5] = 24 - missing
    assert.equal(find(packet), -1, `${missing} bytes missing`)
  }
})

test('a fragment header is found wherever it stands', () => {
  const find = (packet: Uint8Array): boolean => isFragment6(placed(packet).view, AT)
  assert.equal(find(chain([[44, 8]], 17)), true)
  assert.equal(
    find(
      chain(
        [
          [51, 20],
          [0, 8],
          [43, 24],
          [44, 8],
        ],
        17,
      ),
    ),
    true,
  )
  assert.equal(find(chain([[60, 16]], 17, 8)), false)
  const eight = new Array<[number, number]>(8).fill([60, 8])
  assert.equal(find(chain([...eight, [44, 8]], 17)), true)
  assert.equal(find(chain([...eight, [60, 8], [44, 8]], 17)), false)
  assert.equal(find(chain([[60, 8]], 44, 7)), false, 'one that is cut short')
})

test('addresses that stand for an IPv4 overlay address are known by all their bits', () => {
  const subnet = { address: ip('10.77.0.0'), length: 16 }
  const overlay = new Overlay6(parseCidr6('fd00:77:0:9::/64')!, subnet, ip('10.77.0.1'))
  assert.deepEqual(overlay.gateway.bytes, ip6('fd00:77:0:9::a4d:1'))
  const has = (text: string): boolean => overlay.has(placed(ip6(text)).view, AT)
  for (const text of ['fd00:77:0:9::a4d:0', 'fd00:77:0:9::a4d:ffff', 'fd00:77:0:9:0:0:10.77.3.4'])
    assert.equal(has(text), true, text)
  for (const text of [
    'fd00:77:0:9::a4e:1',
    'fd00:77:0:9::1:a4d:1',
    'fd00:77:0:9:8000::a4d:1',
    'fd00:77:0:8::a4d:1',
    'fc00:77:0:9::a4d:1',
    '::a4d:1',
  ])
    assert.equal(has(text), false, text)
  const other = { address: ip('203.0.113.0'), length: 24 }
  const high = new Overlay6(parseCidr6('fd00:77:0:9:8000:1::/96')!, other, ip('203.0.113.1'))
  assert.equal(high.has(placed(ip6('fd00:77:0:9:8000:1:cb00:7105')).view, AT), true)
  assert.deepEqual(
    overlayAddress6(parseCidr6('fd00:77:0:9:8000:1::/96')!, ip('203.0.113.5')),
    [0xfd000077, 9, 0x80000001, 0xcb007105],
  )
})
