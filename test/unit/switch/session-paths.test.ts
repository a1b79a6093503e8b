// What the running switch finds out of its sessions' paths, with clients that are in this process.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { checksum } from '../../../node/switch/ipv4.ts'
import { eventually, ipv4Packet } from './peer.ts'
import { A, B, GATEWAY, type Peer, startTestSwitch, type TestSwitch } from './running.ts'

const ICMP = 1
const FRAGMENTATION_NEEDED = 0x0304
/** IPv4, UDP, and the data channel's header and tag. */
const OVERHEAD = 52

/** Answers echo requests as a client behind a path of `underlay` bytes would. Returns the lengths that it was asked. */
function answering(peer: Peer, underlay: number, stop: AbortSignal): number[] {
  const asked: number[] = []
  void (async () => {
    while (!stop.aborted) {
      const packet = await peer.receive(100).catch(() => undefined)
      if (packet === undefined || packet[9] !== ICMP || packet[20] !== 8) continue
      asked.push(packet.length)
      assert.equal(packet.readUInt32BE(12), GATEWAY)
      assert.equal(packet.readUInt32BE(16), peer.address)
      assert.equal(packet.readUInt16BE(6), 0x4000)
      assert.equal(checksum(packet, 0, 20), 0)
      assert.equal(checksum(packet, 20, packet.length - 20), 0)
      if (packet.length + OVERHEAD > underlay) continue
      const message = Buffer.from(packet.subarray(20))
      message.fill(0, 0, 4)
      message.writeUInt16BE(checksum(message, 0, message.length), 2)
      await peer.send(ipv4Packet(peer.address, GATEWAY, message, { protocol: ICMP }))
    }
  })()
  return asked
}

/** Sends a packet from A again and again until it is too long for B's port. */
async function untilRefused({ a, running }: TestSwitch, packet: Uint8Array): Promise<void> {
  const seen = (): number => running.portStats(a.peerId)!.rxPackets
  let sent = seen()
  for (const end = Date.now() + 15_000; running.counters().tooBig === 0; await delay(100)) {
    assert.ok(Date.now() < end, 'long packets are refused')
    await a.send(packet)
    sent++
  }
  // Those that were under way are counted, too.
  await eventually(() => seen() === sent, 'all are looked at')
  await delay(300)
}

test('the MTU of a port is lowered to what its client answers, and senders are told', async t => {
  await using net = await startTestSwitch({ pathDiscovery: true }, { mtu: 1420 })
  const stop = new AbortController()
  t.after(() => stop.abort())
  const asked = answering(net.b, 1400, stop.signal)
  const long = ipv4Packet(A, B, Buffer.alloc(1400), { df: true })
  await untilRefused(net, long)
  assert.ok(asked.includes(1420), 'the full size was tried')
  // At first it is the least that all paths take.
  for (let tries = 0; ; tries++) {
    await net.a.send(long)
    const answer = await net.a.receive()
    if (answer[9] !== ICMP || answer.readUInt16BE(20) !== FRAGMENTATION_NEEDED) continue
    if (answer.readUInt16BE(26) === 1400 - OVERHEAD) break
    assert.ok(tries < 100, `told ${answer.readUInt16BE(26)}`)
    await delay(100)
  }
})

test('a client that moves keeps the MTU that was found until it is found anew', async t => {
  await using net = await startTestSwitch({ pathDiscovery: true }, { mtu: 1420 })
  const stop = new AbortController()
  t.after(() => stop.abort())
  answering(net.b, 1400, stop.signal)
  const long = ipv4Packet(A, B, Buffer.alloc(1400), { df: true })
  const refused = (): number => net.running.counters().tooBig
  await untilRefused(net, long)
  net.running.movePort(net.b.peerId, net.b.path)
  // For longer than it takes to find it again.
  for (const end = Date.now() + 4000; Date.now() < end; await delay(50)) {
    const before = refused()
    await net.a.send(long)
    await eventually(() => refused() === before + 1, 'the refusal')
  }
})

test('a client that answers the full size, or nothing at all, keeps its MTU and is asked no more', async t => {
  await using net = await startTestSwitch({ pathDiscovery: true }, { mtu: 1420 })
  const stop = new AbortController()
  t.after(() => stop.abort())
  const asked = answering(net.a, 9000, stop.signal)
  const unanswered = answering(net.b, 0, stop.signal)
  await eventually(() => unanswered.length === 6, 'asked as often as that', 20_000)
  assert.deepEqual(asked.slice(0, 2), [52, 1500])
  const total = asked.length
  await delay(8000)
  assert.deepEqual([asked.length, unanswered.length], [total, 6])
  await net.a.send(ipv4Packet(A, B, Buffer.alloc(1400), { df: true }))
  await delay(100)
  assert.equal(net.running.counters().tooBig, 0)
})
