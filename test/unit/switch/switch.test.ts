// The whole switch on loopback: worker thread, sockets, OpenSSL and all, against peers by node:dgram and node:crypto.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { availableParallelism } from 'node:os'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { steadyNow } from '../../../node/steady-clock.ts'
import { SwitchError } from '../../../node/switch/errors.ts'
import { listen } from '../../../node/switch/listener.ts'
import { type Path, pathKey } from '../../../node/switch/path.ts'
import { PATH_STRIDE, writePath } from '../../../node/switch/socket-address.ts'
import { Switch } from '../../../node/switch/switch.ts'
import { Arena } from '../../../node/switch/sys/arena.ts'
import { SendBatch } from '../../../node/switch/sys/send-batch.ts'
import { closeFile } from '../../../node/switch/sys/socket.ts'
import { DataOpener, DataSealer } from '../../../node/vpn/data-packet.ts'
import { OCC_MAGIC, PING } from '../../../node/vpn/in-tunnel.ts'
import { Stopwatch } from '../stopwatch.ts'
import { echoRequest, eventually, ipv4Packet, newKeys, sealData, TestSocket } from './peer.ts'
import { A, B, GATEWAY, OWN, ROUTES, SUBNET, startTestSwitch } from './running.ts'

const CIPHERS = ['AES-128-GCM', 'AES-192-GCM', 'AES-256-GCM', 'CHACHA20-POLY1305'] as const

test('a packet goes from one session to another, one hop older, and back', async () => {
  await using net = await startTestSwitch()
  for (const cipher of CIPHERS) {
    net.a.rekey(1, cipher)
    net.a.keyId = 1
    net.a.packetId = 0
    const payload = randomBytes(1400)
    await net.a.send(ipv4Packet(A, B, payload, { ttl: 64 }))
    assert.deepEqual(await net.b.receive(), ipv4Packet(A, B, payload, { ttl: 63 }))
    await net.b.send(ipv4Packet(B, A, payload, { ttl: 2 }))
    assert.deepEqual(await net.a.receive(), ipv4Packet(B, A, payload, { ttl: 1 }))
  }
  assert.deepEqual(net.drops(), {})
  const stats = net.running.portStats(5)
  assert.equal(stats?.rxPackets, CIPHERS.length)
  assert.equal(stats?.rxBytes, CIPHERS.length * 1420)
  assert.equal(stats?.txPackets, CIPHERS.length)
  assert.ok(Math.abs(stats!.lastReceived - Date.now()) < 60_000)
})

test('when a session was heard last, or opened, is told by the steady clock', async t => {
  await using net = await startTestSwitch()
  const hour = 3_600_000
  const { now } = Date
  t.mock.method(Date, 'now', () => now() - hour)
  await eventually(() => net.running.heardAt(5) !== undefined, 'its port is opened')
  const opened = net.running.heardAt(5)!
  assert.ok(opened <= steadyNow() && opened > steadyNow() - hour / 2)
  const before = steadyNow()
  await net.a.send(ipv4Packet(A, B))
  await net.b.receive()
  const heard = net.running.heardAt(5)!
  // What the kernel tells is finer than what JavaScript has of it.
  assert.ok(heard >= before - 1 && heard <= steadyNow() + 1)
  assert.equal(net.running.heardAt(5), heard)
  assert.equal(net.running.heardAt(4711), undefined)
})

test('who answers at once is waited for awake; a stream to somebody who says nothing is not', async () => {
  await using net = await startTestSwitch()
  const polls = (): number => net.running.counters().busyPolls
  for (let i = 0; i < 200; i++) {
    await net.a.send(ipv4Packet(A, B))
    await net.b.receive()
  }
  assert.equal(polls(), 0)
  // One processor is needed for each of the two.
  if (availableParallelism() === 1) return
  for (let i = 0; i < 20_000 && polls() === 0; i++) {
    await net.a.send(ipv4Packet(A, B))
    await net.b.receive()
    await net.b.send(ipv4Packet(B, A))
    await net.a.receive()
  }
  assert.ok(polls() > 0)
  assert.deepEqual(net.drops(), {})
})

test('who takes the place of one who answered at once is not waited for', async () => {
  await using net = await startTestSwitch()
  let b = net.b
  /** Whether the answer to a packet to B is waited for. */
  const awaited = async (): Promise<boolean> => {
    const { busyPolls } = net.running.counters()
    await net.a.send(ipv4Packet(A, B))
    await b.receive()
    return net.running.counters().busyPolls > busyPolls
  }
  if (availableParallelism() === 1) return
  for (const peerId of [7, 8]) {
    for (let [i, row] = [0, 0]; i < 5000 && row < 5; i++) {
      row = (await awaited()) ? row + 1 : 0
      await b.send(ipv4Packet(B, A))
      await net.a.receive()
    }
    // Longer than the processor is left to others.
    await delay(150)
    net.running.closePort(b.peerId)
    b = await net.join(peerId, B)
    net.running.setRoutes([
      { address: A, length: 32, peerId: 5 },
      { address: B, length: 32, peerId },
    ])
    for (let i = 0; i < 2; i++) assert.equal(await awaited(), false)
  }
})

test('the epoch format carries packets, and the switch follows its peer to the next epoch', async () => {
  await using net = await startTestSwitch()
  const keys = net.a.rekey(2, 'AES-256-GCM', 'epoch')
  const sealer = new DataSealer('AES-256-GCM', 'epoch', keys.receive, 2, 5)
  const opener = new DataOpener('AES-256-GCM', 'epoch', keys.send)
  for (let epoch = 1; epoch < 4; epoch++) {
    await net.a.sendRaw(sealer.seal(ipv4Packet(A, B, Buffer.from(`epoch ${epoch}`))))
    assert.equal((await net.b.receive()).subarray(20).toString(), `epoch ${epoch}`)
    await net.b.send(ipv4Packet(B, A))
    const packet = await net.a.socket.next()
    assert.equal(packet.readUInt16BE(4), epoch)
    assert.ok(opener.open(packet))
    sealer.advanceTo(epoch + 1)
  }
})

test('between sessions over IPv4 and IPv6', async () => {
  const listen = [
    { host: '127.0.0.1', port: 0 },
    { host: '::1', port: 0 },
  ]
  await using net = await startTestSwitch({ listen }, { listener: 1 })
  assert.equal(net.running.addresses[1].host, '::1')
  await net.a.send(ipv4Packet(A, B))
  assert.equal((await net.b.receive()).length, 28)
  await net.b.send(ipv4Packet(B, A))
  assert.equal((await net.a.receive()).length, 28)
})

test('datagrams that the kernel merged on their way in are taken apart again', async () => {
  await using net = await startTestSwitch()
  const { host, port } = net.running.addresses[0]
  const packets = Array.from({ length: 12 }, (_, i) =>
    net.a.seal(ipv4Packet(A, B, Buffer.alloc(i < 11 ? 900 : 50, i))),
  )
  const listener = listen({ host, port: 0 }, true)
  const path = new Arena(PATH_STRIDE)
  writePath(path, 0, { socket: 0, remote: host, port, local: '', ifindex: 0 })
  const data = new Arena(packets.length * 1000)
  const batch = new SendBatch(1, packets.length)
  batch.begin(path, 0, 16, path, 0, 0, packets[0].length)
  for (const [i, packet] of packets.entries()) {
    data.bytes.set(packet, i * 1000)
    batch.add(data, i * 1000, packet.length)
  }
  assert.equal(batch.send(listener.fd, 0), 1)
  for (let i = 0; i < packets.length; i++) {
    assert.deepEqual((await net.b.receive()).subarray(20), Buffer.alloc(i < 11 ? 900 : 50, i))
  }
  assert.deepEqual(net.drops(), {})
  assert.equal(net.running.counters().rxDatagrams, packets.length)
  closeFile(listener.fd)
})

test('what the endpoint makes of one control packet does not touch the next', async () => {
  await using net = await startTestSwitch()
  let seen = 0
  net.running.onControl = () => {
    if (seen++ === 0) throw new Error('first')
  }
  await net.a.sendRaw(Buffer.alloc(50, 4 << 3))
  await net.a.sendRaw(Buffer.alloc(50, 4 << 3))
  await eventually(() => seen === 2, 'both packets')
  assert.deepEqual(
    net.errors.map(error => error.message),
    ['first'],
  )
})

test('a process that is left without stopping ends all the same', () => {
  const script = new URL('leave.ts', import.meta.url).pathname
  const { status } = spawnSync(process.execPath, [script], { timeout: 120_000 })
  assert.equal(status, 7)
})

test('control packets reach the main thread with their path, and answers leave from the address that was asked', async () => {
  await using net = await startTestSwitch({ listen: [{ host: '0.0.0.0', port: 0 }] })
  const { port } = net.running.addresses[0]
  const stranger = await TestSocket.bind('127.0.0.1')
  const came: { path: Path; packet: Buffer }[] = []
  net.running.onControl = (path, packet) => {
    came.push({ path, packet: Buffer.from(packet) })
    net.running.sendControl(path, Buffer.concat([Buffer.from([0x40]), packet]))
  }
  const reset = Buffer.from([(7 << 3) | 0, ...randomBytes(13)])
  await stranger.send(reset, port, '127.0.0.5')
  await eventually(() => came.length === 1, 'the control packet')
  assert.deepEqual(came[0].packet, reset)
  assert.equal(came[0].path.remote, '127.0.0.1')
  assert.equal(came[0].path.port, stranger.port)
  assert.equal(came[0].path.local, '127.0.0.5')
  assert.equal(pathKey(came[0].path), `0/127.0.0.1/${stranger.port}`)
  assert.deepEqual(await stranger.next(), Buffer.concat([Buffer.from([0x40]), reset]))
  assert.equal(stranger.lastFrom?.address, '127.0.0.5')
  stranger.close()
})

test('what is no data of an open session is dropped and counted', async () => {
  await using net = await startTestSwitch()
  const good = net.a.seal(ipv4Packet(A, B))
  const withByte = (at: number, value: number): Buffer => {
    const copy = Buffer.from(good)
    copy[at] = value
    return copy
  }
  const last = good.length - 1
  for (const bad of [
    good.subarray(0, 6),
    good.subarray(0, 20),
    Buffer.alloc(0),
    withByte(3, 99),
    withByte(0, (9 << 3) | 5),
    withByte(10, good[10] ^ 1),
    withByte(last, good[last] ^ 1),
    good.subarray(0, last),
    Buffer.concat([good, Buffer.from([0])]),
    withByte(0, 31 << 3),
    withByte(0, 6 << 3),
  ]) {
    await net.a.sendRaw(bad)
  }
  await net.a.sendRaw(good)
  await net.b.receive()
  await net.a.sendRaw(good)
  await net.a.sendRaw(sealData(net.a.keys[0], 0, 5, 0, ipv4Packet(A, B)))
  await eventually(() => net.running.counters().replayed === 2, 'the replays')
  assert.deepEqual(net.drops(), {
    badLength: 3,
    unknownPeer: 1,
    unknownKey: 1,
    badTag: 4,
    unknownOpcode: 2,
    replayed: 2,
  })
  assert.deepEqual(net.errors, [])
})

test('only own addresses and declared subnets are taken as source', async () => {
  await using net = await startTestSwitch()
  const site = await net.join(7, 0x0a4d0007, { subnets: [{ address: 0xc0a80000, length: 24 }] })
  await net.a.send(ipv4Packet(0x0a4d0009, B))
  await net.a.send(ipv4Packet(0xc0a80005, B))
  await site.send(ipv4Packet(0xc0a80105, B))
  await site.send(ipv4Packet(0xc0a80005, B, Buffer.from('declared')))
  assert.equal((await net.b.receive()).subarray(20).toString(), 'declared')
  assert.deepEqual(net.drops(), { spoofedSource: 3 })
})

test('what a session may send from is replaced while it is open', async () => {
  await using net = await startTestSwitch()
  const site = await net.join(7, 0x0a4d0007, { subnets: [{ address: 0xc0a80000, length: 24 }] })
  net.running.setSources(7, { subnets: [{ address: 0xc0a80100, length: 24 }] })
  await site.send(ipv4Packet(0xc0a80005, B))
  await site.send(ipv4Packet(0x0a4d0007, B, Buffer.from('own')))
  await site.send(ipv4Packet(0xc0a80105, B, Buffer.from('new')))
  for (const text of ['own', 'new']) assert.equal((await net.b.receive()).subarray(20).toString(), text)
  assert.deepEqual(net.drops(), { spoofedSource: 1 })
  net.running.setSources(7, { subnets: [] })
  await site.send(ipv4Packet(0xc0a80105, B))
  await eventually(() => net.drops().spoofedSource === 2, 'the drop')
  net.running.setSources(99, { subnets: [] })
  assert.deepEqual(net.errors, [])
})

test('malformed headers, IPv6 and other payloads are dropped and counted', async () => {
  await using net = await startTestSwitch()
  const bad = ipv4Packet(A, B)
  bad[10] ^= 1
  await net.a.send(bad)
  await net.a.send(ipv4Packet(A, B).subarray(0, 27))
  await net.a.send(Buffer.from([0x60, ...Buffer.alloc(47)]))
  await net.a.send(Buffer.from('hello'))
  await net.a.send(Buffer.alloc(0))
  await net.a.send(ipv4Packet(A, B))
  await net.b.receive()
  assert.deepEqual(net.drops(), { badIp: 2, notIpv4: 2 })
})

test('a spent TTL is answered with "time exceeded" from the gateway', async () => {
  await using net = await startTestSwitch()
  const packet = ipv4Packet(A, B, Buffer.from('datagram'), { ttl: 1 })
  await net.a.send(packet)
  const answer = await net.a.receive()
  assert.equal(answer.readUInt32BE(12), GATEWAY)
  assert.equal(answer.readUInt32BE(16), A)
  assert.deepEqual([...answer.subarray(20, 22)], [11, 0])
  assert.deepEqual(answer.subarray(28), packet)
  assert.equal(net.running.counters().ttlExceeded, 1)
})

test('unreachable: no route, a client that is away, and one whose session has no key', async () => {
  await using net = await startTestSwitch()
  await net.a.send(ipv4Packet(A, 0x08080808))
  assert.deepEqual([...(await net.a.receive()).subarray(20, 22)], [3, 0])
  await net.a.send(ipv4Packet(A, 0x0a4d00ff))
  assert.deepEqual([...(await net.a.receive()).subarray(20, 22)], [3, 1])
  net.running.dropKey(6, 0)
  await net.a.send(ipv4Packet(A, B))
  await eventually(() => net.running.counters().noSendKey === 1, 'the drop')
  net.running.closePort(6)
  await net.a.send(ipv4Packet(A, B))
  assert.deepEqual([...(await net.a.receive()).subarray(20, 22)], [3, 1])
})

test('a storm of packets without route is not answered by a storm of errors', async () => {
  await using net = await startTestSwitch()
  const began = performance.now()
  for (let i = 0; i < 100; i++) await net.a.send(ipv4Packet(A, 0x08080808))
  const answered = (): number => net.running.counters().icmpErrors + net.running.counters().icmpLimited
  await eventually(() => answered() === 100, 'all packets')
  const { icmpErrors, noRoute } = net.running.counters()
  assert.equal(noRoute, 100)
  // 30 at once, and then 20 a second.
  const most = 31 + (performance.now() - began) / 50
  assert.ok(icmpErrors >= 30 && icmpErrors <= most, `${icmpErrors} errors, at most ${most}`)
})

test('too long for the next hop: "fragmentation needed" with the MTU, or fragments', async () => {
  await using net = await startTestSwitch({}, { mtu: 1000 })
  const payload = randomBytes(1200)
  await net.a.send(ipv4Packet(A, B, payload, { df: true }))
  const answer = await net.a.receive()
  assert.deepEqual([...answer.subarray(20, 22)], [3, 4])
  assert.equal(answer.readUInt16BE(26), 1000)
  await net.a.send(ipv4Packet(A, B, payload))
  const fragments = [await net.b.receive(), await net.b.receive()]
  assert.deepEqual(Buffer.concat(fragments.map(fragment => fragment.subarray(20))), payload)
  assert.ok(fragments.every(fragment => fragment.length <= 1000))
  assert.equal(net.running.counters().fragmented, 1)
})

test('without a TUN the switch answers pings to the gateway and to its own address', async () => {
  await using net = await startTestSwitch()
  for (const address of [GATEWAY, OWN]) {
    await net.a.send(echoRequest(A, address))
    const answer = await net.a.receive()
    assert.equal(answer.readUInt32BE(12), address)
    assert.equal(answer[20], 0)
  }
  await net.a.send(ipv4Packet(A, GATEWAY))
  assert.deepEqual([...(await net.a.receive()).subarray(20, 22)], [3, 2])
})

test('a session floats after an authentic, new packet only, and answers follow it', async () => {
  await using net = await startTestSwitch()
  const floats: [number, Path][] = []
  net.running.onFloat = (peerId, path) => floats.push([peerId, path])
  const elsewhere = await TestSocket.bind('127.0.0.2')
  const first = net.a.seal(ipv4Packet(A, B))
  await net.a.sendRaw(first)
  await net.b.receive()
  // A replay and a forgery from elsewhere move nothing.
  await net.a.sendRaw(first, elsewhere)
  const forged = net.a.seal(ipv4Packet(A, B))
  forged[30] ^= 1
  await net.a.sendRaw(forged, elsewhere)
  await net.b.send(ipv4Packet(B, A))
  await net.a.receive()
  assert.deepEqual(floats, [])
  await net.a.sendRaw(net.a.seal(ipv4Packet(A, B)), elsewhere)
  await net.b.receive()
  await eventually(() => floats.length === 1, 'the float')
  assert.equal(floats[0][0], 5)
  assert.equal(pathKey(floats[0][1]), `0/127.0.0.2/${elsewhere.port}`)
  await net.b.send(ipv4Packet(B, A))
  await elsewhere.next()
  // Where another session is, none may float to.
  await net.a.sendRaw(net.a.seal(ipv4Packet(A, B)), net.b.socket)
  await eventually(() => net.running.counters().floatRefused === 1, 'the refusal')
  assert.equal(net.running.counters().floated, 1)
  elsewhere.close()
})

test('of a session whose packets come now from here and now from there, where it is at last is told', async () => {
  await using net = await startTestSwitch()
  const PACKETS = 400
  const floats: string[] = []
  net.running.onFloat = (_, { remote }) => floats.push(remote)
  const elsewhere = await TestSocket.bind('127.0.0.2')
  const begun = performance.now()
  for (let i = 1; i <= PACKETS; i++) {
    await net.a.sendRaw(net.a.seal(ipv4Packet(A, B)), i % 2 === 1 ? elsewhere : net.a.socket)
    await net.b.receive()
  }
  await net.a.sendRaw(net.a.seal(ipv4Packet(A, B)), elsewhere)
  await net.b.receive()
  await eventually(() => floats.at(-1) === '127.0.0.2' && floats.length > 1, 'the last float')
  // One at once, and one for each look at the timers.
  const most = 2 + (performance.now() - begun) / 250
  assert.ok(floats.length <= most, `${floats.length} floats told of`)
  assert.equal(net.running.counters().floated, PACKETS + 1)
  elsewhere.close()
})

test('keys roll over without a gap: old ones are taken until dropped', async () => {
  await using net = await startTestSwitch()
  const old = net.a.seal(ipv4Packet(A, B, Buffer.from('old key')))
  for (let keyId = 1; keyId <= 20; keyId++) {
    const id = keyId % 8
    net.a.keys[id] = newKeys()
    net.running.setKey(5, id, net.a.keys[id])
    net.a.keyId = id
    net.a.packetId = 0
    await net.a.send(ipv4Packet(A, B, Buffer.from(`key ${keyId}`)))
    assert.equal((await net.b.receive()).subarray(20).toString(), `key ${keyId}`)
    if (keyId === 1) {
      await net.a.sendRaw(old)
      assert.equal((await net.b.receive()).subarray(20).toString(), 'old key')
    }
    net.running.useKey(5, id)
    if (keyId >= 3) net.running.dropKey(5, (keyId - 2) % 8)
    await net.b.send(ipv4Packet(B, A))
    assert.equal((await net.a.receive()).length, 28)
  }
  assert.deepEqual(net.drops(), {})
})

test('pings are swallowed and sent, silence is told once, an OCC exit is told', async () => {
  await using net = await startTestSwitch()
  const idle: number[] = []
  const exits: number[] = []
  net.running.onIdle = peerId => idle.push(peerId)
  net.running.onExit = peerId => exits.push(peerId)
  const peer = await net.join(7, 0x0a4d0007, { pingSeconds: 1, timeoutSeconds: 1 })
  await peer.send(PING)
  await eventually(() => net.running.counters().pingRx === 1, 'the ping')
  assert.deepEqual(await peer.receive(), Buffer.from(PING))
  await eventually(() => idle.length === 1, 'the silence')
  await delay(600)
  assert.deepEqual(idle, [7])
  await peer.send(PING)
  await eventually(() => idle.length === 2, 'the next silence')
  await peer.send(Buffer.from([...OCC_MAGIC, 0]))
  await peer.send(Buffer.from([...OCC_MAGIC, 6]))
  await eventually(() => exits.length === 1, 'the exit')
  assert.deepEqual(exits, [7])
})

test('ports are opened, moved and closed in any order, and unknown ones do no harm', async () => {
  await using net = await startTestSwitch({ maxPorts: 3 })
  const { running } = net
  for (const peerId of [0, 99, 0xfffffe]) {
    running.closePort(peerId)
    running.movePort(peerId, net.a.path)
    running.setKey(peerId, 0, newKeys())
    running.useKey(peerId, 0)
    running.dropKey(peerId, 0)
    assert.equal(running.portStats(peerId), undefined)
  }
  running.useKey(5, 7)
  running.dropKey(5, 7)
  assert.throws(() => running.openPort({ ...specOf(net.a.path), peerId: 0xffffff }), RangeError)
  // The same peer id again: a new port with nothing of the old one.
  running.openPort({ ...specOf(net.a.path), peerId: 5 })
  await net.a.send(ipv4Packet(A, B))
  await eventually(() => running.counters().unknownKey === 1, 'the drop')
  net.a.rekey(0)
  net.a.packetId = 0
  await net.a.send(ipv4Packet(A, B))
  await net.b.receive()
  assert.equal(running.portStats(5)?.rxPackets, 1)
  // A third fits, a fourth does not.
  running.openPort({ ...specOf({ ...net.a.path, port: 1 }), peerId: 8 })
  running.openPort({ ...specOf({ ...net.a.path, port: 2 }), peerId: 9 })
  assert.equal((net.errors.at(-1) as SwitchError).code, 'FULL')
  running.closePort(8)
  running.openPort({ ...specOf({ ...net.a.path, port: 2 }), peerId: 9 })
  assert.notEqual(running.portStats(9), undefined)
  // Moved by hand.
  const elsewhere = await TestSocket.bind()
  running.movePort(6, { ...net.b.path, port: elsewhere.port })
  await net.a.send(ipv4Packet(A, B))
  await elsewhere.next()
  elsewhere.close()
})

function specOf(path: Path) {
  return { path, address: A as never, subnets: [], pingSeconds: 0, timeoutSeconds: 0, mtu: 1500 }
}

test('routes are swapped whole; longer prefixes win', async () => {
  await using net = await startTestSwitch()
  net.running.setRoutes([
    { address: 0, length: 0, peerId: 6 },
    { address: A, length: 32, peerId: 5 },
  ])
  await net.a.send(ipv4Packet(A, 0x08080808))
  assert.equal((await net.b.receive()).readUInt32BE(16), 0x08080808)
  net.running.setRoutes(ROUTES)
  await net.a.send(ipv4Packet(A, 0x08080808))
  assert.deepEqual([...(await net.a.receive()).subarray(20, 22)], [3, 0])
  assert.throws(() => net.running.setRoutes([{ address: 0, length: 33, peerId: 1 }]), RangeError)
})

test('what comes once routes were set goes by them, though this process has other things to do', async () => {
  await using net = await startTestSwitch()
  await net.a.send(ipv4Packet(A, B))
  await net.b.receive()
  const [{ host, port }] = net.running.addresses
  net.running.setRoutes([{ address: 0x08080808, length: 32, peerId: 6 }, ...ROUTES])
  void net.a.socket.send(net.a.seal(ipv4Packet(A, 0x08080808)), port, host)
  // After the socket has looked up its address, before anything that waits for a turn of the event loop.
  await new Promise<void>(resolve => process.nextTick(resolve))
  for (const until = performance.now() + 100; performance.now() < until; );
  assert.equal((await net.b.receive()).readUInt32BE(16), 0x08080808)
})

test('random bytes of any length stop nothing', async () => {
  await using net = await startTestSwitch()
  const batch = Array.from({ length: 3000 }, () => {
    const bytes = randomBytes(Math.floor(Math.random() ** 3 * 3000))
    if (bytes.length > 4 && Math.random() < 0.7) {
      bytes[0] = (9 << 3) | (bytes[0] & 1)
      bytes[1] = 0
      bytes[2] = 0
      bytes[3] = 5
    }
    return bytes
  })
  for (const [i, bytes] of batch.entries()) {
    await net.a.sendRaw(bytes)
    // No more than the kernel keeps for the switch.
    if (i % 100 === 0) await eventually(() => net.running.counters().rxDatagrams > i, 'all are taken')
  }
  await net.a.send(ipv4Packet(A, B))
  await net.b.receive()
  assert.deepEqual(net.errors, [])
})

test('a refusal to start says what to do', async () => {
  await using net = await startTestSwitch()
  const taken = net.running.addresses[0]
  const start = (host: string, port: number) =>
    Switch.start({
      listen: [{ host, port }],
      gateway: GATEWAY,
      address: OWN,
      subnet: SUBNET,
      tun: false,
      mtu: 1500,
    })
  await assert.rejects(start(taken.host, taken.port), (error: unknown) => {
    assert.ok(error instanceof SwitchError)
    assert.equal(error.code, 'ADDRESS_IN_USE')
    assert.match(
      error.message,
      /^UDP 127\.0\.0\.1:\d+ is in use by another program; stop that \(`overmesh doctor`/,
    )
    return true
  })
  await assert.rejects(start('192.0.2.1', 0), { code: 'ADDRESS_UNUSABLE' })
  await assert.rejects(start('a.example', 0), { code: 'ADDRESS_UNUSABLE' })
})

test('what was asked for before stop is still done', async () => {
  const net = await startTestSwitch()
  for (let i = 0; i < 100; i++) net.running.sendControl(net.a.path, Buffer.from([4 << 3, i]))
  await net.running.stop()
  for (let i = 0; i < 100; i++) assert.deepEqual(await net.a.socket.next(), Buffer.from([4 << 3, i]))
  net.running.sendControl(net.a.path, Buffer.from([4 << 3, 100]))
  assert.equal(net.running.counters().sendFailed, 1)
  await net[Symbol.asyncDispose]()
})

test('stop ends the thread, also under load and when asked twice; the address is free again', async () => {
  const net = await startTestSwitch()
  const { port } = net.running.addresses[0]
  let sending = true
  const load = (async () => {
    while (sending) {
      await net.a.send(ipv4Packet(A, B))
      await delay(0)
    }
  })()
  await delay(50)
  const watch = new Stopwatch()
  await Promise.all([net.running.stop(), net.running.stop()])
  assert.ok(watch.own < 1000, `${watch.elapsed} ms, of which ${watch.waited} waited`)
  sending = false
  await load
  net.running.sendControl(net.a.path, Buffer.from([0x20]))
  net.running.closePort(5)
  await using again = await startTestSwitch({ listen: [{ host: '127.0.0.1', port }] })
  assert.equal(again.running.addresses[0].port, port)
  net.a.socket.close()
  net.b.socket.close()
})
