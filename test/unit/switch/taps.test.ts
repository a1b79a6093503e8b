// Captures of a running switch: packets as they pass its ports, what it drops and why, and that it waits for nobody.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { COUNTER } from '../../../node/switch/counters.ts'
import type { TapFilter } from '../../../node/switch/tap-filter.ts'
import {
  allocateRing,
  type Captured,
  DIRECTION,
  MAX_TAPS,
  RingReader,
} from '../../../node/switch/tap-ring.ts'
import { parseAddress6, parseCidr6 } from '../../../state/address6.ts'
import { makePacket6 } from '../switch-pure/packets6.ts'
import { echoRequest, eventually, ipv4Packet } from './peer.ts'
import { A, B, GATEWAY, startTestSwitch, type TestSwitch } from './running.ts'

const ALL: TapFilter = { networks: [], dropped: false, snap: 0 }
const DROPS: TapFilter = { ...ALL, dropped: true }

type Seen = Omit<Captured, 'bytes'> & { bytes: Buffer }

class Watch {
  readonly id: number
  readonly seen: Seen[] = []
  readonly reader: RingReader

  constructor(net: TestSwitch, filter: TapFilter, ring = allocateRing(2 ** 16)) {
    this.reader = new RingReader(ring)
    const id = net.running.openTap(filter, ring)
    assert.ok(id !== undefined)
    this.id = id
  }

  look(): Seen[] {
    for (let next = this.reader.next(); next !== undefined; next = this.reader.next())
      this.seen.push({ ...next, bytes: Buffer.from(next.bytes) })
    this.reader.release()
    return this.seen
  }

  async until(count: number): Promise<Seen[]> {
    await eventually(() => this.look().length >= count, `${count} packets`)
    return this.seen
  }
}

/** Sends a packet across, so that everything asked of the switch before has been done. */
async function settle(net: TestSwitch): Promise<void> {
  await net.a.send(ipv4Packet(A, B, Buffer.from('settled!')))
  while (!(await net.b.receive()).includes('settled!'));
}

test('a packet is seen when it comes in and when it goes out, as it is then, without its payload', async () => {
  await using net = await startTestSwitch()
  const watch = new Watch(net, ALL)
  await settle(net)
  watch.look()
  watch.seen.length = 0
  const before = Date.now()
  const sent = ipv4Packet(
    A,
    B,
    Buffer.concat([Buffer.from([0x9c, 0x40, 0, 53, 0, 108, 0, 0]), Buffer.alloc(100, 's')]),
  )
  await net.a.send(sent)
  const received = await net.b.receive()
  const [first, second] = await watch.until(2)
  assert.deepEqual(first.bytes, sent.subarray(0, 28))
  assert.deepEqual(second.bytes, received.subarray(0, 28))
  assert.deepEqual([first.bytes[8], second.bytes[8]], [64, 63], 'the second has spent a hop')
  assert.deepEqual([first.peerId, first.address, first.direction], [5, A, DIRECTION.in])
  assert.deepEqual([second.peerId, second.address, second.direction], [6, B, DIRECTION.out])
  for (const { length, drop, lost, seconds, nanoseconds } of [first, second]) {
    assert.deepEqual([length, drop, lost], [128, -1, 0])
    const at = seconds * 1000 + nanoseconds / 1e6
    assert.ok(at >= before - 1 && at <= Date.now() + 1, `${at}`)
  }
  // What the switch answers itself leaves by a port, too.
  await net.a.send(echoRequest(A, GATEWAY))
  await net.a.receive()
  const [, , request, reply] = await watch.until(4)
  assert.deepEqual([request.direction, request.peerId, reply.direction, reply.peerId], [1, 5, 2, 5])
  assert.equal(reply.bytes[20], 0)
})

test('filters count in the switch: by session, by port, and by what is dropped', async () => {
  await using net = await startTestSwitch()
  const ofB = new Watch(net, { ...ALL, port: { session: B } })
  const dns = new Watch(net, { ...ALL, transportPort: 53, snap: 40 })
  const drops = new Watch(net, DROPS)
  const udp = (port: number) => Buffer.from([0, port, 0xff, 0xff, 0, 28, 0, 0, ...Buffer.alloc(20, 'x')])
  await net.a.send(ipv4Packet(A, B, udp(53)))
  await net.a.send(ipv4Packet(A, B, udp(99)))
  await net.b.receive()
  await net.b.receive()
  assert.deepEqual(
    (await ofB.until(2)).map(({ direction, bytes }) => [direction, bytes[21]]),
    [
      [DIRECTION.out, 53],
      [DIRECTION.out, 99],
    ],
  )
  assert.deepEqual(
    (await dns.until(2)).map(({ peerId, bytes, length }) => [peerId, bytes.length, length]),
    [
      [5, 40, 48],
      [6, 40, 48],
    ],
  )
  assert.deepEqual(drops.look(), [])
  net.running.closeTap(dns.id)
  await settle(net)
  ofB.look()
  await net.a.send(ipv4Packet(A, B, udp(53)))
  await settle(net)
  assert.equal(ofB.look().length, 5)
  assert.equal(dns.look().length, 2, 'it was closed')
})

test('what is dropped is shown with what it was counted by', async () => {
  await using net = await startTestSwitch({}, { mtu: 1300 })
  const drops = new Watch(net, DROPS)
  const passing = new Watch(net, ALL)
  const broken = ipv4Packet(A, B)
  broken[10] ^= 1
  const sent: [Buffer, keyof typeof COUNTER][] = [
    [ipv4Packet(B, A), 'spoofedSource'],
    [ipv4Packet(A, 0x0a4d0099), 'unreachable'],
    [ipv4Packet(A, 0x08080808), 'noRoute'],
    [ipv4Packet(A, B, undefined, { ttl: 1 }), 'ttlExceeded'],
    [ipv4Packet(A, B, Buffer.alloc(1380), { df: true }), 'tooBig'],
    [ipv4Packet(A, GATEWAY), 'notForUs'],
    [broken, 'badIp'],
    [Buffer.from(makePacket6({})), 'notIpv4'],
  ]
  for (const [packet, counter] of sent) {
    await net.a.send(packet)
    const seen = await drops.until(1)
    assert.equal(seen.length, 1, counter)
    const [{ drop, direction, peerId, bytes, length }] = seen.splice(0)
    assert.equal(drop, COUNTER[counter], counter)
    assert.deepEqual([direction, peerId, length], [DIRECTION.in, 5, packet.length], counter)
    // Some of them after they have spent a hop.
    assert.deepEqual(bytes.subarray(12), packet.subarray(12, bytes.length), counter)
    assert.ok(bytes.length <= 48, 'headers only')
    assert.equal(net.running.counters()[counter], 1)
  }
  // They came in all the same, and errors about some went back.
  const came = (await passing.until(sent.length)).filter(({ direction }) => direction === DIRECTION.in)
  assert.equal(came.length, sent.length)
  assert.ok(passing.seen.every(({ drop }) => drop === -1))
  // One that cannot leave was to go out.
  net.running.dropKey(6, 0)
  await net.a.send(ipv4Packet(A, B))
  const [unsent] = await drops.until(1)
  assert.deepEqual([unsent.drop, unsent.direction, unsent.peerId], [COUNTER.noSendKey, DIRECTION.out, 6])
})

test('IPv6 passes filters of IPv6', async () => {
  const subnet6 = parseCidr6('fd00:77::/64')!
  await using net = await startTestSwitch({ subnet6 })
  const host = { four: [], six: [{ address: parseAddress6('fd00:77::a4d:3')!, length: 128 }] }
  const watch = new Watch(net, { ...ALL, networks: [host], port: { session: A } })
  const payload = Buffer.from([1, 2, 0, 53, 0, 16, 0, 0, ...Buffer.alloc(8, 's')])
  await net.a.send(ipv4Packet(A, B))
  await net.a.send(makePacket6({ source: 'fd00:77::a4d:2', destination: 'fd00:77::a4d:3', payload }))
  await net.b.receive()
  await net.b.receive()
  const [one] = await watch.until(1)
  assert.equal(one.bytes.length, 48)
  assert.equal(one.bytes[0] >> 4, 6)
})

test('a ring that nobody reads loses packets, which are counted, and the switch goes on', async () => {
  await using net = await startTestSwitch()
  const watch = new Watch(net, { ...ALL, snap: 65_535 }, allocateRing(4096))
  const payload = Buffer.alloc(1000, 'p')
  for (let i = 0; i < 20; i++) {
    await net.a.send(ipv4Packet(A, B, payload))
    await net.b.receive()
  }
  await eventually(() => watch.reader.lost === 37, 'all but three are lost')
  assert.equal(watch.look().length, 3)
  await net.a.send(ipv4Packet(A, B, payload))
  const [, , , next] = await watch.until(4)
  assert.equal(next.lost, 37)
  assert.deepEqual(next.bytes.subarray(20), payload, 'whole, if that is asked for')
})

test('as many captures as there may be, and their places are free again', async () => {
  await using net = await startTestSwitch()
  const open = Array.from({ length: MAX_TAPS }, () => new Watch(net, ALL))
  assert.equal(net.running.openTap(ALL, allocateRing(1024)), undefined)
  net.running.closeTap(open[1].id)
  net.running.closeTap(open[1].id)
  const again = new Watch(net, ALL)
  assert.equal(net.running.openTap(ALL, allocateRing(1024)), undefined)
  await settle(net)
  for (const watch of [open[0], open[2], open[3], again]) assert.equal((await watch.until(2)).length, 2)
  assert.equal(open[1].look().length, 0)
})
