// Handshakes and renegotiations over a network that loses, doubles and reorders.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { pushOptions } from '../../../node/push.ts'
import { DEFAULT_PROTO } from '../../../node/vpn/client.ts'
import { echoRequest } from '../../../node/vpn/client-echo.ts'
import { keyIdOf, OPCODE, opcodeOf } from '../../../node/vpn/packet.ts'
import { IV_PROTO } from '../../../node/vpn/peer-info.ts'
import type { Applicant, ServerSession } from '../../../node/vpn/session.ts'
import { formatIpv4, parseIpv4 } from '../../../state/address.ts'
import { type SimulatedClient, SimulatedNetwork } from './simulated-network.ts'
import { GATEWAY, SUBNET, World } from './world.ts'

/** For which a controller stays when its last session was told to go: see `drain` of `node/controller.ts`. */
const FAREWELL_MS = 250

const world = new World()

for (const seed of [1, 2, 3]) {
  test(`clients get in over a network that loses a tenth of the packets (seed ${seed})`, async () => {
    const weather = { loss: 0.1, dataLoss: 0.1, duplicates: 0.1, delay: 150 }
    const network = new SimulatedNetwork(world, weather, {}, seed)
    const clients = Array.from({ length: 20 }, (_, i) => network.client(`c${i}`))
    const all = await network.run(60, () => clients.every(client => client.connection))
    const missing = clients
      .filter(client => !client.connection)
      .map(client => client.end?.kind ?? client.vpn.state)
    assert.ok(all, `not connected: ${missing}`)
    const addresses = clients.map(client => formatIpv4(client.connection!.address))
    assert.equal(new Set(addresses).size, clients.length)
    assert.equal(network.endpoint.counters.sessionsOpened, clients.length)
    assert.equal(network.endpoint.counters.internalErrors, 0)
    assert.equal(network.endpoint.handshaking, 0)
    network.endpoint.close()
  })

  test(`renegotiations by both sides at once lose no data packet (seed ${seed})`, async () => {
    // Only control packets suffer: every data packet that is missing was lost by a change of keys.
    const weather = { loss: 0.1, duplicates: 0.1, delay: 60 }
    const settings = { renegotiationMs: 9000 }
    const network = new SimulatedNetwork(world, {}, { settings }, seed)
    const one = network.client('one', { renegotiationMs: 8300 })
    const two = network.client('two')
    assert.ok(await network.run(60, () => Boolean(one.connection && two.connection)))
    network.weather = weather
    let sent = 0
    const to = two.connection!.address
    const end = network.now + 90_000
    while (network.now < end) {
      assert.ok(one.vpn.send(echoRequest(one.connection!.address, to, 1, sent++)))
      await network.run(0.05)
    }
    await network.run(1)
    assert.equal(one.end, undefined)
    assert.equal(two.end, undefined)
    assert.equal(two.packets.length, sent)
    assert.ok(one.vpn.renegotiations >= 5, `${one.vpn.renegotiations}`)
    assert.ok(two.vpn.renegotiations >= 4, `${two.vpn.renegotiations}`)
    assert.ok(network.plane.receivedByKey.size >= 5)
    for (const port of network.plane.ports.values()) {
      assert.equal(port.lost, 0)
      assert.ok(port.keys.size <= 3, `${port.keys.size} keys`)
    }
    network.endpoint.close()
  })
}

test('a renegotiation that comes to nothing leaves the session on its old keys', async () => {
  const network = new SimulatedNetwork(world, {}, { settings: { handshakeMs: 10_000 } })
  const one = network.client('one', { handshakeMs: 1e9 })
  const two = network.client('two')
  assert.ok(await network.run(20, () => Boolean(one.connection && two.connection)))
  network.weather = { loss: 1 }
  for (const session of network.endpoint.sessions()) session.renegotiate()
  await network.run(15)
  assert.equal(network.endpoint.counters.renegotiationsFailed, 2)
  one.vpn.send(echoRequest(one.connection!.address, two.connection!.address, 1, 1))
  await network.run(1)
  assert.equal(two.packets.length, 1)
  assert.equal([...network.endpoint.sessions()].length, 2)
  network.endpoint.close()
})

test('a handshake that stops ends in time and leaves nothing', async () => {
  const network = new SimulatedNetwork(world, {}, { settings: { handshakeMs: 10_000 } })
  network.client('one')
  await network.run(5, () => network.endpoint.handshaking === 1)
  network.weather = { loss: 1 }
  assert.equal(network.endpoint.handshaking, 1)
  await network.run(11)
  assert.equal(network.endpoint.handshaking, 0)
  assert.deepEqual(network.log, ['refused: the handshake took too long'])
  network.endpoint.close()
})

test('the last message arrives although its first copies are lost', async () => {
  const network = new SimulatedNetwork(world)
  const one = network.client('one')
  await network.run(20, () => one.connection !== undefined)
  network.weather = { loss: 1 }
  network.endpoint.end(() => true, { kind: 'auth-failed', reason: 'revoked' }, 'revoked')
  await network.run(1)
  assert.equal(one.end, undefined)
  network.weather = {}
  await network.run(4, () => one.end !== undefined)
  assert.partialDeepStrictEqual(one.end, { kind: 'auth-failed', reason: 'revoked' })
  await network.run(6)
  assert.equal(network.endpoint.handshaking, 0)
})

test('the word to go elsewhere arrives before its sender is gone, although the first copy is lost', async () => {
  const network = new SimulatedNetwork(world, { delay: 20 })
  const clients = ['one', 'two', 'three'].map(name => network.client(name))
  assert.ok(await network.run(20, () => clients.every(client => client.connection)))
  await network.run(2)
  const spoken: number[] = []
  const drop = (packet: Uint8Array) =>
    opcodeOf(packet[0]) === OPCODE.controlV1 && spoken.push(network.now) <= clients.length
  network.weather = { delay: 20, drop }
  network.endpoint.drain()
  const drained = network.now
  await network.run(1, () => [...network.endpoint.sessions()].length === 0)
  await network.run(FAREWELL_MS / 1000)
  network.endpoint.close()
  for (const { end } of clients) assert.deepEqual(end, { kind: 'restart', target: 'next', reason: '' })
  const [first, ...again] = [spoken.slice(0, clients.length), ...spoken.slice(clients.length)]
  assert.ok(Math.max(...first) - drained <= 50, 'what was lost was said at once')
  assert.equal(again.length, clients.length)
  for (const at of again) assert.ok(at - drained >= 150 && at - drained <= 200, `${at - drained} ms`)
})

test('a message that ends the session gets through a renegotiation that is under way', async () => {
  const network = new SimulatedNetwork(world, { delay: 40 })
  const one = network.client('one')
  await network.run(20, () => one.connection !== undefined)
  await network.run(2)
  one.vpn.renegotiate()
  await network.run(0.06)
  network.endpoint.end(() => true, { kind: 'restart', target: 'next' }, 'draining')
  // A stock client reads control messages of its newest key only.
  network.weather = { delay: 40, drop: packet => keyIdOf(packet[0]) === 0 }
  await network.run(4, () => one.end !== undefined)
  assert.deepEqual(one.end, { kind: 'restart', target: 'next', reason: '' })
})

for (const [name, end] of [
  ['go elsewhere', { kind: 'restart', target: 'next', reason: '' }],
  ['stop', { kind: 'halt', reason: 'removed' }],
  ['be refused', { kind: 'auth-failed', reason: 'revoked', temporary: undefined }],
] as const) {
  test(`the word to ${name} gets through when it crosses the client's wish for new keys`, async () => {
    let asked = 0
    const admit = (applicant: Applicant) => {
      asked++
      return world.admit(applicant)
    }
    const network = new SimulatedNetwork(world, {}, { admit })
    const one = network.client('one')
    await network.run(20, () => one.connection !== undefined)
    await network.run(2)
    const [session] = network.endpoint.sessions()
    // A stock client reads control messages of its newest key only.
    network.weather = {
      drop: packet => opcodeOf(packet[0]) !== OPCODE.dataV2 && keyIdOf(packet[0]) === 0,
    }
    one.vpn.renegotiate()
    session.end(end, 'over')
    const over = network.now
    assert.ok(await network.run(1, () => one.end !== undefined), 'told within its first second')
    assert.deepEqual(one.end, end)
    // All that the new key is for.
    assert.equal(asked, 1)
    assert.deepEqual(network.plane.calls.at(-1), `closePort ${session.peerId}`)
    assert.equal(network.endpoint.counters.renegotiations, 0)
    assert.ok(await network.run(6, () => session.state === 'closed'))
    assert.ok(network.now - over <= 5100, `${network.now - over} ms`)
    assert.deepEqual(network.plane.calls.at(-1), `closePort ${session.peerId}`)
    assert.equal(network.endpoint.counters.internalErrors, 0)
  })
}

const routesTo = (session: ServerSession, ...addresses: string[]) =>
  pushOptions({
    address: session.address,
    subnet: SUBNET,
    gateway: GATEWAY,
    routes: addresses.map(address => ({ address: parseIpv4(address)!, length: 16 })),
  })
const routesOf = (client: SimulatedClient) =>
  client.connection?.options.filter(option => option.startsWith('route 10.'))

test('what a client is told of routes while its keys are renewed is said again by the new ones, if need be', async () => {
  const network = new SimulatedNetwork(world)
  const one = network.client('one', { proto: DEFAULT_PROTO | IV_PROTO.pushUpdate })
  await network.run(20, () => one.connection !== undefined)
  await network.run(2)
  const [session] = network.endpoint.sessions()
  // As stock clients do: what comes by the old key is not read any more.
  const ofOldKey = (packet: Uint8Array) => opcodeOf(packet[0]) !== OPCODE.dataV2 && keyIdOf(packet[0]) === 0
  network.weather = { drop: ofOldKey }
  one.vpn.renegotiate()
  session.update(routesTo(session, '10.9.0.0'))
  session.update(routesTo(session, '10.8.0.0'))
  assert.ok(await network.run(5, () => one.vpn.renegotiations === 1))
  await network.run(1)
  assert.deepEqual(routesOf(one), ['route 10.8.0.0 255.255.0.0'])
  // The old key has nothing more to say that would undo what the new one says next.
  network.weather = {}
  session.update(routesTo(session, '10.7.0.0'))
  await network.run(20)
  assert.deepEqual(routesOf(one), ['route 10.7.0.0 255.255.0.0'])
  const { connection } = one
  one.vpn.renegotiate()
  assert.ok(await network.run(5, () => one.vpn.renegotiations === 2))
  await network.run(1)
  assert.equal(one.connection, connection, 'what was acknowledged is not said again')
  assert.equal(session.isBehind(routesTo(session, '10.7.0.0')), false)
  assert.equal(network.endpoint.counters.pushUpdates, 3)
})

test('a session that is over answers wishes for new keys no longer than it would without', async () => {
  const network = new SimulatedNetwork(world)
  const one = network.client('one')
  await network.run(20, () => one.connection !== undefined)
  await network.run(2)
  const [session] = network.endpoint.sessions()
  one.vpn.renegotiate()
  // Of the answers nothing arrives, and the client asks again and again.
  network.weather = { drop: packet => keyIdOf(packet[0]) === 0 || opcodeOf(packet[0]) === OPCODE.controlV1 }
  session.end({ kind: 'restart', target: 'next' }, 'draining')
  const over = network.now
  assert.ok(await network.run(6, () => session.state === 'closed'))
  assert.ok(network.now - over <= 5100, `${network.now - over} ms`)
  assert.ok(!network.plane.calls.includes(`setKey ${session.peerId} 1`))
})

test('no key is used before the peer is known to have it, however urgent', async () => {
  const network = new SimulatedNetwork(world)
  const one = network.client('one')
  await network.run(20, () => one.connection !== undefined)
  const [session] = network.endpoint.sessions()
  await network.run(2)
  one.vpn.renegotiate()
  const { peerId } = session
  await network.run(5, () => network.plane.calls.includes(`setKey ${peerId} 1`))
  // The server's half is on its way and gets lost.
  network.weather = { loss: 1 }
  await network.run(1)
  session.renegotiate()
  await network.run(3)
  assert.ok(!network.plane.calls.includes(`useKey ${peerId} 1`))
  network.weather = {}
  await network.run(20, () => network.plane.calls.includes(`useKey ${peerId} 1`))
  assert.equal(one.vpn.renegotiations, 1)
})
