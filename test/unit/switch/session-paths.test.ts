// What the running switch finds out of its sessions' paths, with clients that are in this process.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { checksum } from '../../../node/switch/ipv4.ts'
import { ipv4Packet } from './peer.ts'
import { A, B, GATEWAY, type Peer, startTestSwitch } from './running.ts'

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

test('the MTU of a port is lowered to what its client answers, and senders are told', async t => {
  await using net = await startTestSwitch({ pathDiscovery: true }, { mtu: 1420 })
  const stop = new AbortController()
  t.after(() => stop.abort())
  const asked = answering(net.b, 1400, stop.signal)
  const long = ipv4Packet(A, B, Buffer.alloc(1400), { df: true })
  for (let tries = 0; net.running.counters().tooBig === 0; tries++) {
    assert.ok(tries < 80, 'long packets are refused within eight seconds')
    await net.a.send(long)
    await delay(100)
  }
  assert.ok(asked.includes(1420), 'the full size was tried')
  // At first it is the least that all paths take.
  for (let tries = 0; ; tries++) {
    await net.a.send(long)
    const answer = await net.a.receive()
    if (answer[9] !== ICMP || answer.readUInt16BE(20) !== FRAGMENTATION_NEEDED) continue
    if (answer.readUInt16BE(26) === 1400 - OVERHEAD) break
    assert.ok(tries < 20, `told ${answer.readUInt16BE(26)}`)
    await delay(100)
  }
})

test('a client that moves keeps the MTU that was found until it is found anew', async t => {
  await using net = await startTestSwitch({ pathDiscovery: true }, { mtu: 1420 })
  const stop = new AbortController()
  t.after(() => stop.abort())
  answering(net.b, 1400, stop.signal)
  await delay(5000)
  const refusals = async (): Promise<number> => {
    await net.a.send(ipv4Packet(A, B, Buffer.alloc(1400), { df: true }))
    await delay(50)
    return net.running.counters().tooBig
  }
  assert.equal(await refusals(), 1)
  net.running.movePort(net.b.peerId, net.b.path)
  for (let i = 2; i < 80; i++) assert.equal(await refusals(), i)
})

test('a client that answers the full size, or nothing at all, keeps its MTU and is asked no more', async t => {
  await using net = await startTestSwitch({ pathDiscovery: true }, { mtu: 1420 })
  const stop = new AbortController()
  t.after(() => stop.abort())
  const asked = answering(net.a, 9000, stop.signal)
  const unanswered = answering(net.b, 0, stop.signal)
  await delay(11_500)
  assert.deepEqual(asked, [52, 1500])
  assert.equal(unanswered.length, 10)
  await net.a.send(ipv4Packet(A, B, Buffer.alloc(1400), { df: true }))
  await delay(100)
  assert.equal(net.running.counters().tooBig, 0)
})
