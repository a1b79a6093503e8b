// IPv6 through the whole switch on loopback: see switch.test.ts.
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import type { SwitchOptions } from '../../../node/switch/switch.ts'
import { formatAddress6, overlayAddress6, parseCidr6 } from '../../../state/address6.ts'
import { icmp6Packet, ip6, makePacket6, type Packet6Fields } from '../switch-pure/packets6.ts'
import { eventually, ipv4Packet } from './peer.ts'
import { A, B, GATEWAY, OWN, type PeerSpec, ROUTES, startTestSwitch, type TestSwitch } from './running.ts'

const SUBNET6 = parseCidr6('fd00:77::/64')!
const six = (address: number): string => formatAddress6(overlayAddress6(SUBNET6, address))

function packet(from: number | string, to: number | string, fields: Partial<Packet6Fields> = {}): Buffer {
  const text = (address: number | string) => (typeof address === 'number' ? six(address) : address)
  return Buffer.from(makePacket6({ ...fields, source: text(from), destination: text(to) }))
}

async function start(options: Partial<SwitchOptions> = {}, b: PeerSpec = {}): Promise<TestSwitch> {
  const net = await startTestSwitch({ subnet6: SUBNET6, ...options }, b)
  net.running.setRoutes(ROUTES, [{ ...SUBNET6, peerId: 'unreachable' }])
  return net
}

/** Type and code of an ICMPv6 message, who it is from, and the number that follows its checksum. */
function icmp(answer: Buffer): { kind: number[]; from: Buffer; word: number } {
  assert.equal(answer[6], 58)
  return { kind: [...answer.subarray(40, 42)], from: answer.subarray(8, 24), word: answer.readUInt32BE(44) }
}

test('a packet goes from one session to another, one hop older, and back', async () => {
  await using net = await start()
  const payload = randomBytes(1300)
  await net.a.send(packet(A, B, { payload, hopLimit: 64, flow: 0x12345, trafficClass: 3 }))
  const expected = packet(A, B, { payload, hopLimit: 63, flow: 0x12345, trafficClass: 3 })
  assert.deepEqual(await net.b.receive(), expected)
  await net.b.send(Buffer.concat([packet(B, A, { payload, hopLimit: 2 }), Buffer.from('padding')]))
  assert.deepEqual(await net.a.receive(), packet(B, A, { payload, hopLimit: 1 }))
  await net.a.send(ipv4Packet(A, B))
  assert.equal((await net.b.receive()).length, 28)
  assert.deepEqual(net.drops(), {})
})

test('extension headers pass as they are', async () => {
  await using net = await start()
  const payload = Buffer.from([17, 0, 5, 2, 0, 0, 1, 0, ...randomBytes(40)])
  await net.a.send(packet(A, B, { nextHeader: 0, payload }))
  assert.deepEqual((await net.b.receive()).subarray(40), payload)
})

test('without a prefix for it, IPv6 is dropped and counted as before', async () => {
  await using net = await startTestSwitch()
  await net.a.send(packet(A, B))
  await net.a.send(ipv4Packet(A, B))
  await net.b.receive()
  assert.deepEqual(net.drops(), { notIpv4: 1 })
})

test('only own addresses and declared prefixes are taken as source; link-local chatter is counted apart', async () => {
  await using net = await start()
  const subnets6 = [parseCidr6('2001:db8:5::/48')!]
  const site = await net.join(7, 0x0a4d0007, { subnets6 })
  const spoofed = [
    packet(B, B),
    packet(0x0a4d0009, B),
    packet('2001:db8:5::1', B),
    packet('::1', B),
    packet('ff02::1', B),
    packet('::ffff:10.77.0.2', B),
    packet('fd00:77::1:a4d:2', B),
  ]
  for (const each of spoofed) await net.a.send(each)
  await site.send(packet('2001:db8:6::1', B))
  const exit = await net.join(8, 0x0a4d0008, { subnets6: [parseCidr6('::/0')!] })
  for (const each of ['fd00:77::1:a4d:2', 'fd00:77::9999:9']) await exit.send(packet(each, B))
  const chatter = [
    packet('fe80::1', 'ff02::2'),
    packet('::', 'ff02::16'),
    packet(A, 'ff02::1'),
    packet(A, 'fe80::5'),
    packet(A, '::1'),
  ]
  for (const each of chatter) await net.a.send(each)
  await site.send(packet('2001:db8:5:ffff::1', B, { payload: Buffer.from('declared') }))
  assert.equal((await net.b.receive()).subarray(40).toString(), 'declared')
  await site.send(packet(0x0a4d0007, B, { payload: Buffer.from('own') }))
  assert.equal((await net.b.receive()).subarray(40).toString(), 'own')
  assert.deepEqual(net.drops(), { spoofedSource: spoofed.length + 3, linkScope: chatter.length })
  assert.equal(net.a.socket.received.length, 0, 'nobody is told')
})

test('malformed packets are dropped and counted', async () => {
  await using net = await start()
  await net.a.send(packet(A, B).subarray(0, 47))
  await net.a.send(packet(A, B).subarray(0, 39))
  await net.a.send(Buffer.from([0x60]))
  await net.a.send(packet(A, B, { payload: new Uint8Array(), nextHeader: 0 }))
  await net.a.send(packet(A, B))
  await net.b.receive()
  assert.deepEqual(net.drops(), { badIp: 4 })
})

test('a spent hop limit, and destinations that are away or nowhere, are answered from the gateway', async () => {
  await using net = await start()
  const spent = packet(A, B, { hopLimit: 1 })
  for (const [sent, kind] of [
    [spent, [3, 0]],
    [packet(A, 0x0a4d00ff), [1, 3]],
    [packet(A, 'fd00:77::5:0:0'), [1, 3]],
    [packet(A, '2001:db8::1'), [1, 0]],
  ] as const) {
    await net.a.send(sent)
    const answer = await net.a.receive()
    assert.deepEqual(icmp(answer).kind, kind)
    assert.deepEqual(icmp(answer).from, Buffer.from(ip6(six(GATEWAY))))
    assert.deepEqual(answer.subarray(48), sent)
  }
  const { ttlExceeded, unreachable, noRoute } = net.running.counters()
  assert.deepEqual({ ttlExceeded, unreachable, noRoute }, { ttlExceeded: 1, unreachable: 2, noRoute: 1 })
})

test('a storm of packets without route is not answered by a storm of errors', async () => {
  await using net = await start()
  const began = performance.now()
  for (let i = 0; i < 100; i++) await net.a.send(packet(A, '2001:db8::1'))
  const answered = (): number => net.running.counters().icmpErrors + net.running.counters().icmpLimited
  await eventually(() => answered() === 100, 'all packets')
  const { icmpErrors, noRoute } = net.running.counters()
  assert.equal(noRoute, 100)
  // 30 at once, and then 20 a second.
  const most = 31 + (performance.now() - began) / 50
  assert.ok(icmpErrors >= 30 && icmpErrors <= most, `${icmpErrors} errors, at most ${most}`)
})

test('too long for the next hop: "packet too big" with the MTU, and never a fragment', async () => {
  await using net = await start({}, { mtu: 1350 })
  await net.a.send(packet(A, B, { payload: new Uint8Array(1311) }))
  const answer = await net.a.receive()
  assert.deepEqual({ ...icmp(answer), from: '' }, { kind: [2, 0], from: '', word: 1350 })
  assert.equal(answer.length, 1200)
  await net.a.send(packet(A, B, { payload: new Uint8Array(1310) }))
  assert.equal((await net.b.receive()).length, 1350)
  const { tooBig, fragmented } = net.running.counters()
  assert.deepEqual({ tooBig, fragmented }, { tooBig: 1, fragmented: 0 })
})

test('1,280 bytes pass, whatever the path: in two fragments where it takes less', async () => {
  await using net = await start({}, { mtu: 1228 })
  const sent = Buffer.from(packet(A, B, { payload: randomBytes(1240) }))
  await net.a.send(sent)
  const parts = [await net.b.receive(), await net.b.receive()]
  assert.deepEqual(
    parts.map(each => [each.length, each[6], each[40], each.readUInt16BE(42)]),
    [
      [1224, 44, sent[6], 1],
      [112, 44, sent[6], 1176],
    ],
  )
  assert.deepEqual(parts[0].subarray(44, 48), parts[1].subarray(44, 48))
  assert.deepEqual(Buffer.concat(parts.map(each => each.subarray(48))), sent.subarray(40))
  assert.equal(net.running.counters().fragmented, 1)
  await net.a.send(packet(A, B, { payload: new Uint8Array(1241) }))
  assert.equal(icmp(await net.a.receive()).word, 1280)
})

test('without a TUN the switch answers pings to the gateway and to its own address', async () => {
  await using net = await start()
  for (const address of [GATEWAY, OWN]) {
    const request = icmp6Packet(128, randomBytes(60), { source: six(A), destination: six(address) })
    await net.a.send(request)
    const answer = await net.a.receive()
    assert.deepEqual(icmp(answer).kind, [129, 0])
    assert.deepEqual(icmp(answer).from, Buffer.from(ip6(six(address))))
    assert.deepEqual(answer.subarray(44), Buffer.from(request.subarray(44)))
  }
  await net.a.send(packet(A, GATEWAY))
  assert.deepEqual(icmp(await net.a.receive()).kind, [4, 1])
  assert.equal(net.running.counters().echoReplies, 2)
})

test('prefixes beside the overlay go to the longest match, atomically replaced', async () => {
  await using net = await start()
  const routes6 = (inner: number) => [
    { ...parseCidr6('2001:db8::/32')!, peerId: 'unreachable' as const },
    { ...parseCidr6('2001:db8:5::/48')!, peerId: 6 },
    { ...parseCidr6('2001:db8:5:1::/64')!, peerId: inner },
  ]
  const site = await net.join(7, 0x0a4d0007)
  net.running.setRoutes(ROUTES, routes6(7))
  await net.a.send(packet(A, '2001:db8:5::1'))
  assert.equal((await net.b.receive()).length, 48)
  await net.a.send(packet(A, '2001:db8:5:1::1'))
  assert.equal((await site.receive()).length, 48)
  await net.a.send(packet(A, '2001:db8:6::1'))
  assert.deepEqual(icmp(await net.a.receive()).kind, [1, 3])
  net.running.setRoutes(ROUTES, routes6(6))
  await net.a.send(packet(A, '2001:db8:5:1::1'))
  assert.equal((await net.b.receive()).length, 48)
})
