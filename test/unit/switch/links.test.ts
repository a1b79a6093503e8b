// Backbone links between two whole switches on loopback, with a wire in between that can do what networks do.
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { LOSS_WINDOW, PROBE_INTERVAL } from '../../../node/switch/link-monitor.ts'
import type { Path } from '../../../node/switch/path.ts'
import type { SwitchRoute } from '../../../node/switch/switch.ts'
import { Stopwatch } from '../stopwatch.ts'
import { echoRequest, eventually, ipv4Packet, newKeys } from './peer.ts'
import { A, B, GATEWAY, SUBNET, startTestSwitch, type TestSwitch } from './running.ts'
import { HERE, openLink, setLinkKeys, THERE, Wire } from './wire.ts'

const MTU = 1420
/** An IPv4 packet of the underlay: its headers, and what sealing adds. */
const OVERHEAD = 20 + 8 + 24
/** A session of the second switch alone. */
const C = 0x0a4d0004

interface Linked extends AsyncDisposable {
  /** Has session A, of peer id 5. */
  a: TestSwitch
  /** Has session B, of peer id 6. */
  b: TestSwitch
  wire: Wire
  /** What the two ends told, in order. */
  told: { a: boolean[]; b: boolean[] }
}

function routes(b: SwitchRoute['peerId'], a: SwitchRoute['peerId']): SwitchRoute[] {
  return [
    { address: A, length: 32, peerId: a },
    { address: B, length: 32, peerId: b },
    { address: GATEWAY, length: 32, peerId: 'local' },
    { ...SUBNET, peerId: 'unreachable' },
  ]
}

/** Two switches, a link between them, and a session on each that reaches the other by it. */
async function startLinked(wanted = MTU): Promise<Linked> {
  const [a, b] = await Promise.all([startTestSwitch(), startTestSwitch()])
  const wire = await Wire.between(a, b)
  const told: Linked['told'] = { a: [], b: [] }
  a.running.onLink = (peerId, up) => {
    assert.equal(peerId, HERE)
    told.a.push(up)
  }
  b.running.onLink = (peerId, up) => {
    assert.equal(peerId, THERE)
    told.b.push(up)
  }
  a.running.setRoutes(routes(HERE, 5))
  b.running.setRoutes(routes(6, THERE))
  openLink(a, b, wire, wanted)
  return {
    a,
    b,
    wire,
    told,
    async [Symbol.asyncDispose]() {
      wire.close()
      await Promise.all([a[Symbol.asyncDispose](), b[Symbol.asyncDispose]()])
    },
  }
}

const isUp = (net: Linked): boolean => net.told.a.at(-1) === true && net.told.b.at(-1) === true
const up = (net: Linked): Promise<void> => eventually(() => isUp(net), 'the link is up')

test('a link comes up, and carries packets between sessions of two switches both ways', async () => {
  await using net = await startLinked()
  const watch = new Stopwatch()
  await up(net)
  assert.ok(watch.own < 1000, `up after ${watch.elapsed} ms, of which ${watch.waited} waited`)
  const payload = randomBytes(1000)
  await net.a.a.send(ipv4Packet(A, B, payload, { ttl: 64 }))
  assert.deepEqual(await net.b.b.receive(), ipv4Packet(A, B, payload, { ttl: 62 }), 'two hops older')
  await net.b.b.send(ipv4Packet(B, A, payload, { ttl: 3 }))
  assert.deepEqual(await net.a.a.receive(), ipv4Packet(B, A, payload, { ttl: 1 }))
  const stats = net.a.running.linkStats(HERE)!
  assert.equal(stats.up, true)
  assert.ok(stats.rttMs > 0 && stats.rttMs - watch.waited < 50, `${stats.rttMs} ms`)
  assert.equal(stats.lossPercent, 0)
  assert.ok(stats.rxBytes >= 1020 && stats.txBytes >= 1020)
  assert.equal(net.a.running.linkStats(5), undefined, 'a session is no link')
  assert.deepEqual(net.told, { a: [true], b: [true] })
  assert.deepEqual([net.a.drops(), net.b.drops()], [{}, {}])
})

test('errors find their way back over the link', async () => {
  await using net = await startLinked()
  await up(net)
  await net.a.a.send(ipv4Packet(A, B, new Uint8Array(8), { ttl: 2 }))
  const expired = await net.a.a.receive()
  assert.deepEqual(
    [expired[20], expired.readUInt32BE(16)],
    [11, A],
    'the second hop has said "time exceeded"',
  )
  net.b.running.setRoutes([{ address: A, length: 32, peerId: THERE }])
  await net.a.a.send(ipv4Packet(A, B))
  const unreachable = await net.a.a.receive()
  assert.deepEqual([unreachable[20], unreachable[21]], [3, 0])
  net.b.running.setRoutes([...routes(6, THERE), { address: B, length: 32, peerId: 'local' }])
  await net.a.a.send(echoRequest(A, B))
  assert.equal((await net.a.a.receive())[20], 0, 'an answer by the other switch itself')
})

test('what came by a link never leaves by it', async () => {
  await using net = await startLinked()
  await up(net)
  // Both hold the other for the way to C.
  for (const [end, link] of [
    [net.a, HERE],
    [net.b, THERE],
  ] as const) {
    end.running.setRoutes([...routes('unreachable', 5), { address: C, length: 32, peerId: link }])
  }
  await net.a.a.send(ipv4Packet(A, C))
  await eventually(() => net.b.running.counters().sentBack === 1, 'the packet is dropped')
  await delay(50)
  assert.equal(net.a.running.counters().sentBack, 0)
  assert.equal(net.a.a.socket.received.length, 0, 'in silence')
})

test('by a link packets come from any source, but only whole ones', async () => {
  await using net = await startLinked()
  await up(net)
  // A routed subnet behind a client of the other switch.
  const subnet = await net.b.join(7, C, { subnets: [{ address: 0xc0a80000, length: 16 }] })
  await subnet.send(ipv4Packet(0xc0a80101, A))
  assert.equal((await net.a.a.receive()).readUInt32BE(12), 0xc0a80101)
  const { badIp, spoofedSource, notIpv4 } = net.a.running.counters()
  assert.deepEqual([badIp, spoofedSource, notIpv4], [0, 0, 0])
})

for (const direction of ['there', 'back'] as const) {
  test(`a cut ${direction} takes the link down at both ends within a second, and healing brings it up`, async () => {
    await using net = await startLinked()
    await up(net)
    await delay(300)
    const cut = new Stopwatch()
    net.wire.cut.add(direction)
    await eventually(() => net.told.a.length === 2 && net.told.b.length === 2, 'the link is down')
    const { own, elapsed } = cut
    assert.ok(own < 1000 && elapsed > 400, `down after ${elapsed} ms, of which ${elapsed - own} waited`)
    assert.deepEqual(net.told, { a: [true, false], b: [true, false] })
    assert.equal(net.a.running.linkStats(HERE)?.up, false)
    await delay(500)
    net.wire.cut.clear()
    const healed = new Stopwatch()
    await up(net)
    assert.ok(healed.own < 1000, `up after ${healed.elapsed} ms, of which ${healed.waited} waited`)
    assert.ok(net.a.running.linkStats(HERE)!.lossPercent > 0)
    await net.a.a.send(ipv4Packet(A, B))
    await net.b.b.receive()
  })
}

test('round trip and loss are measured', async t => {
  await using net = await startLinked()
  net.wire.delay = 60
  await up(net)
  await delay(1500)
  const rtt = (): number => net.a.running.linkStats(HERE)!.rttMs
  assert.ok(rtt() >= 118, `${rtt()} ms`)
  // Each that is late for want of a processor is forgotten with those that follow.
  await eventually(() => rtt() < 200, 'the round trip')
  // Half of the time something is lost: of four probes in a row always two, by their way there or back.
  const cutting = setInterval(() => {
    net.wire.cut.add('there').add('back')
    setTimeout(() => net.wire.cut.clear(), 2 * PROBE_INTERVAL - net.wire.delay)
  }, 4 * PROBE_INTERVAL)
  t.after(() => clearInterval(cutting))
  const loss = (): number => net.a.running.linkStats(HERE)!.lossPercent
  await delay((LOSS_WINDOW + 5) * PROBE_INTERVAL)
  await eventually(() => loss() >= 44 && loss() <= 56, 'the loss')
})

test('the path decides the MTU: found at once, shrunk within two seconds, grown again', async () => {
  await using net = await startLinked()
  net.wire.room = 1400 - 28
  await up(net)
  const mtu = (): number => net.a.running.linkStats(HERE)!.mtu
  await eventually(() => mtu() === 1400 - OVERHEAD, '1400')
  // An overlay packet of that size passes, one byte more is told "fragmentation needed", or comes in fragments.
  await net.a.a.send(ipv4Packet(A, B, new Uint8Array(mtu() - 20), { df: true }))
  assert.equal((await net.b.b.receive()).length, mtu())
  await net.a.a.send(ipv4Packet(A, B, new Uint8Array(mtu() - 19), { df: true }))
  const refusal = await net.a.a.receive()
  assert.deepEqual([refusal[20], refusal[21], refusal.readUInt16BE(26)], [3, 4, mtu()])
  await net.a.a.send(ipv4Packet(A, B, new Uint8Array(mtu() - 19)))
  const fragments = [await net.b.b.receive(), await net.b.b.receive()]
  assert.equal(fragments[0].length + fragments[1].length, mtu() + 1 + 20)
  net.wire.room = 1340 - 28
  await eventually(() => mtu() === 1340 - OVERHEAD, 'smaller', 2000)
  net.wire.room = 1280 - 28
  await eventually(() => mtu() === 1280 - OVERHEAD, 'the least', 2000)
  net.wire.room = 65_535
  await eventually(() => mtu() === MTU, 'as wide as wanted', 12_000)
  assert.deepEqual(net.told, { a: [true], b: [true] }, 'never down meanwhile')
})

test('the link follows its peer to another address, and can be moved', async () => {
  await using net = await startLinked()
  await up(net)
  const floats: [number, Path][] = []
  net.b.running.onFloat = (peerId, path) => floats.push([peerId, path])
  await net.wire.reroute()
  await eventually(() => floats.length === 1, 'the float')
  assert.equal(floats[0][0], THERE)
  assert.equal(floats[0][1].port, net.wire.path('back').port)
  await delay(1000)
  assert.deepEqual(net.told, { a: [true], b: [true] }, 'nobody saw it go down')
  // One end is sent astray, and back.
  net.a.running.moveLink(HERE, { ...net.wire.path('there'), port: 1 })
  net.wire.cut.add('back')
  await eventually(() => net.told.a.length === 2, 'the link is down')
  net.wire.cut.clear()
  net.a.running.moveLink(HERE, net.wire.path('there'))
  await up(net)
})

test('a packet counts once, and only under the link’s key', async () => {
  await using net = await startLinked()
  await up(net)
  await net.a.a.send(ipv4Packet(A, B, Buffer.from('once')))
  await net.b.b.receive()
  const sealed = net.wire.passed.there.filter(packet => packet.length === 24 + 24).at(-1)!
  const before = net.b.running.counters()
  for (let i = 0; i < 3; i++) net.wire.inject('there', sealed)
  await eventually(() => net.b.running.counters().replayed === before.replayed + 3, 'the replays')
  const forged = Buffer.from(sealed)
  forged.writeUInt32BE(100_000, 4)
  net.wire.inject('there', forged)
  await eventually(() => net.b.running.counters().badTag === 1, 'the forgery')
  const wrongId = Buffer.from(sealed)
  wrongId.writeUIntBE(HERE + 5, 1, 3)
  net.wire.inject('there', wrongId)
  await eventually(() => net.b.running.counters().unknownPeer === 1, 'the stranger')
  assert.equal(net.b.b.socket.received.length, 0)
  // Keys that do not fit: nothing is answered, and the link goes down at both ends.
  net.b.running.setKey(THERE, 1, newKeys())
  net.b.running.useKey(THERE, 1)
  await eventually(() => net.told.a.at(-1) === false && net.told.b.at(-1) === false, 'the link is down')
  setLinkKeys(net.a, net.b, 1)
  await up(net)
})

test('keys change under way without a packet lost', async () => {
  await using net = await startLinked()
  await up(net)
  for (let keyId = 1; keyId < 8; keyId++) {
    setLinkKeys(net.a, net.b, keyId)
    await net.a.a.send(ipv4Packet(A, B, Buffer.of(keyId)))
    assert.equal((await net.b.b.receive())[20], keyId)
    net.a.running.dropKey(HERE, keyId - 1)
    net.b.running.dropKey(THERE, keyId - 1)
  }
  await delay(800)
  assert.deepEqual(net.told, { a: [true], b: [true] })
})

test('links are opened and closed in any order; ids of sessions are not theirs', async () => {
  await using net = await startLinked()
  const { running } = net.a
  const spec = { peerId: HERE, remotePeerId: THERE, path: net.wire.path('there'), mtu: MTU }
  assert.throws(() => running.openLink({ ...spec, peerId: 5 }), RangeError)
  assert.throws(() => running.openLink({ ...spec, remotePeerId: 0xffffff }), RangeError)
  await up(net)
  running.closeLink(HERE)
  assert.equal(running.linkStats(HERE), undefined)
  await net.a.a.send(ipv4Packet(A, B))
  assert.equal((await net.a.a.receive())[20], 3, 'unreachable')
  running.closeLink(HERE)
  await eventually(() => net.told.b.at(-1) === false, 'the other end sees it go')
  for (let i = 0; i < 50; i++) running.openLink({ ...spec, peerId: HERE + i + 1 })
  for (let i = 0; i < 50; i++) running.closeLink(HERE + i + 1)
  openLink(net.a, net.b, net.wire)
  await up(net)
  await net.a.a.send(ipv4Packet(A, B))
  await net.b.b.receive()
  running.closePort(HERE)
  assert.deepEqual(net.a.errors, [])
})

test('at the limit of links the owner is told, and nothing else breaks', async () => {
  await using net = await startTestSwitch({ maxPorts: 1100 })
  const path = { ...net.a.path, port: 9 }
  for (let i = 0; i < 1025; i++)
    net.running.openLink({
      peerId: HERE + i,
      remotePeerId: THERE,
      path: { ...path, port: 1000 + i },
      mtu: MTU,
    })
  assert.equal(net.errors.length, 1)
  assert.match(net.errors[0].message, /1024 links/)
  await net.a.send(ipv4Packet(A, B))
  await net.b.receive()
})
