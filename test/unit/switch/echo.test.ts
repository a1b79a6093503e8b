// Echo requests out of a chosen port, and whose answers are believed.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { IpAddress } from '../../../state/address6.ts'
import { formatAddress6, overlayAddress6, parseAddress6, parseCidr6 } from '../../../state/address6.ts'
import { icmp6Packet, ip6, sum6 } from '../switch-pure/packets6.ts'
import { eventually, internetChecksum, ipv4Packet } from './peer.ts'
import { A, B, OWN, startTestSwitch } from './running.ts'

const BEHIND = 0xc0a80507
const token = (first: number) => new Uint8Array(16).fill(first)

/** What a host answers to the request in a packet. */
function answer(request: Buffer, change: (message: Buffer) => void = () => {}): Buffer {
  const message = Buffer.from(request.subarray(20))
  message[0] = 0
  change(message)
  message.writeUInt16BE(0, 2)
  message.writeUInt16BE(internetChecksum(message), 2)
  return ipv4Packet(request.readUInt32BE(16), request.readUInt32BE(12), message, { protocol: 1 })
}

test('leaves by that port whatever the routes say; the answer is told with its token', async () => {
  await using world = await startTestSwitch({}, { subnets: [{ address: 0xc0a80500, length: 24 }] })
  const { running, b } = world
  const told: [number, IpAddress, number][] = []
  running.onEcho = (peerId, from, bytes) => told.push([peerId, from, bytes[0]])
  // 192.168.5.0/24 is behind A for the routes, behind B for the request.
  running.setRoutes([
    { address: 0xc0a80500, length: 24, peerId: 5 },
    { address: OWN, length: 32, peerId: 'local' },
  ])
  assert.equal(running.sendEcho(6, BEHIND, token(7)), true)
  const request = await b.receive()
  assert.equal(request.readUInt32BE(12), OWN)
  assert.equal(request.readUInt32BE(16), BEHIND)
  assert.equal(internetChecksum(request.subarray(0, 20)), 0)
  assert.equal(internetChecksum(request.subarray(20)), 0)
  assert.equal(request[20], 8)
  await b.send(answer(request))
  await eventually(() => told.length > 0, 'the answer is told')
  assert.deepEqual(told, [[6, BEHIND, 7]])
  assert.equal(running.sendEcho(99, BEHIND, token(1)), false, 'no such port')
})

test('echoes of others, and more answers than requests, are not told', async () => {
  await using world = await startTestSwitch()
  const { running, a, b } = world
  const told: number[] = []
  running.onEcho = (_peerId, _from, bytes) => told.push(bytes[0])
  running.sendEcho(5, A, token(1))
  const request = await a.receive()
  const other = answer(request, message => message.writeUInt16BE(message.readUInt16BE(4) ^ 1, 4))
  const long = answer(Buffer.concat([request, Buffer.alloc(4)]))
  for (const packet of [request, other, long]) await a.send(packet)
  await a.send(ipv4Packet(BEHIND, OWN, answer(request).subarray(20), { protocol: 1 }))
  for (let i = 0; i < 5; i++) await a.send(answer(request))
  // Nor do they take anything from the answers of others.
  running.sendEcho(6, B, token(2))
  const last = await b.receive()
  await b.send(answer(last))
  await eventually(() => told.includes(2), 'the last answer is told')
  assert.deepEqual(told, [1, 2])
  assert.equal(running.counters().spoofedSource, 2)
})

test('IPv6 is asked from the IPv6 address, and only that answers', async () => {
  const subnet6 = parseCidr6('fd00:77::/64')!
  const own = formatAddress6(overlayAddress6(subnet6, OWN))
  const target = '2001:db8:5::9'
  await using world = await startTestSwitch({ subnet6 }, { subnets6: [parseCidr6('2001:db8:5::/48')!] })
  const { running, b } = world
  const told: [IpAddress, number][] = []
  running.onEcho = (_peerId, from, bytes) => told.push([from, bytes[0]])
  running.setRoutes([{ address: OWN, length: 32, peerId: 'local' }], [])
  assert.equal(running.sendEcho(6, parseAddress6(target)!, token(7)), true)
  const request = await b.receive()
  assert.deepEqual(request.subarray(8, 24), Buffer.from(ip6(own)))
  assert.deepEqual(request.subarray(24, 40), Buffer.from(ip6(target)))
  const message = request.subarray(40)
  assert.deepEqual([message[0], sum6(request, message, 58)], [128, 0])
  const reply = (source: string, destination: string, body = message.subarray(4)) =>
    b.send(Buffer.from(icmp6Packet(129, body, { source, destination })))
  const strange = Buffer.from(message.subarray(4))
  strange[0] ^= 1
  await reply(target, own, strange)
  await reply(target, formatAddress6(overlayAddress6(subnet6, OWN + 1)))
  await reply('2001:db8:6::9', own)
  await reply('2001:db8:5::8', own)
  await reply(target, own)
  await eventually(() => told.length > 0, 'the first answer is told')
  assert.deepEqual(told, [[parseAddress6('2001:db8:5::8'), 7]], 'once for each request, whoever it is from')
  assert.equal(running.counters().spoofedSource, 1)
})

test('without IPv6 in the overlay no IPv6 is asked', async () => {
  await using world = await startTestSwitch()
  world.running.sendEcho(6, parseAddress6('2001:db8:5::9')!, token(7))
  world.running.sendEcho(6, B, token(1))
  assert.equal((await world.b.receive())[0] >> 4, 4)
})
