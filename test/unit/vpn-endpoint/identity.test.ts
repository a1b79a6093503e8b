// Whose session it is stays settled: over renegotiations, changes of address, and a second connection of the same client.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import tls from 'node:tls'
import { OPCODE, opcodeOf } from '../../../node/vpn/packet.ts'
import { parseProfile } from '../../../node/vpn/profile.ts'
import { contextOf } from '../../../node/vpn/udp-client.ts'
import { SimulatedNetwork } from './simulated-network.ts'
import { World } from './world.ts'

const world = new World()

test("a renegotiation with another client's certificate ends the session", async () => {
  const network = new SimulatedNetwork(world)
  const one = network.client('one')
  await network.run(10, () => one.connection !== undefined)
  await network.run(2)
  one.settings.context = contextOf(parseProfile(world.pack('two')))
  one.vpn.renegotiate()
  await network.run(5, () => one.end !== undefined)
  const reason = 'the certificate changed during the session'
  assert.partialDeepStrictEqual(one.end, { kind: 'auth-failed', reason })
  assert.deepEqual(network.log, ['up one', `down one: ${reason}`])
})

test('the name in the certificate stays, even for the same client', async () => {
  const network = new SimulatedNetwork(world)
  const id = '1111222233334444'
  const one = network.client('one', {}, { id })
  await network.run(10, () => one.connection !== undefined)
  const [{ address }] = network.endpoint.sessions()
  await network.run(2)
  one.settings.context = contextOf(parseProfile(world.pack('renamed', { id })))
  for (const client of world.clients.values()) if (client.id === id) client.address = address
  one.vpn.renegotiate()
  await network.run(5, () => one.end !== undefined)
  assert.partialDeepStrictEqual(one.end, {
    kind: 'auth-failed',
    reason: 'the certificate changed during the session',
  })
})

test('who has no good certificate never reaches admission', async () => {
  const asked: string[] = []
  const network = new SimulatedNetwork(
    world,
    {},
    {
      admit: ({ commonName }) => {
        asked.push(commonName)
        return { ok: false, reason: 'admission was asked' }
      },
    },
  )
  const { ca } = parseProfile(world.pack('web'))
  const { cert, key } = parseProfile(new World().pack('foreign'))
  const expired = parseProfile(world.pack('old', { at: Date.now() - 7_200_000, lifetime: 3600 }))
  const contexts = [
    tls.createSecureContext({ ca }),
    tls.createSecureContext({ ca, cert, key }),
    tls.createSecureContext({ ca, cert: expired.cert, key: expired.key }),
  ]
  const clients = contexts.map((context, i) => network.client(`c${i}`, { context }))
  await network.run(10, () => clients.every(client => client.end))
  assert.deepEqual(asked, [])
  for (const { end } of clients) assert.match(JSON.stringify(end), /"auth-failed".*certificate/)
  assert.deepEqual(network.plane.calls, [])
})

test('a renewed certificate of the same client is taken, one that was revoked since is not', async () => {
  const network = new SimulatedNetwork(world)
  const id = '0123456789abcdef'
  const one = network.client('one', {}, { id })
  await network.run(10, () => one.connection !== undefined)
  const [session] = network.endpoint.sessions()
  const { address, serial } = session
  await network.run(2)
  const renewed = parseProfile(world.pack('one', { id }))
  for (const client of world.clients.values()) if (client.id === id) client.address = address
  one.settings.context = contextOf(renewed)
  one.vpn.renegotiate()
  await network.run(5, () => one.vpn.renegotiations === 1)
  assert.equal(one.end, undefined)
  assert.notEqual(session.serial, serial)
  await network.run(2)
  world.clients.delete(session.serial)
  one.vpn.renegotiate()
  await network.run(5, () => one.end !== undefined)
  assert.partialDeepStrictEqual(one.end, { kind: 'auth-failed', reason: 'this certificate is unknown' })
})

test('a client that moved gets its control packets at the new address', async () => {
  const network = new SimulatedNetwork(world)
  const one = network.client('one')
  await network.run(10, () => one.connection !== undefined)
  const [session] = network.endpoint.sessions()
  one.path = { ...one.path, remote: '203.0.113.9', port: 4242 }
  network.endpoint.portFloated(session.peerId, one.path)
  assert.equal(session.remote, '203.0.113.9:4242')
  await network.run(2)
  session.renegotiate()
  await network.run(5, () => one.vpn.renegotiations === 1)
  assert.equal(one.vpn.renegotiations, 1)
})

test('control packets alone do not move a session', async () => {
  const network = new SimulatedNetwork(world)
  const one = network.client('one')
  await network.run(10, () => one.connection !== undefined)
  const [session] = network.endpoint.sessions()
  const { remote } = session
  one.path = { ...one.path, remote: '203.0.113.9', port: 4242 }
  await network.run(2)
  one.vpn.renegotiate()
  await network.run(5)
  assert.equal(session.remote, remote)
  assert.equal(one.vpn.renegotiations, 0)
})

test('a client is answered from that of our addresses that it asks, and nobody else changes that', async () => {
  const network = new SimulatedNetwork(world)
  const one = network.client('one')
  await network.run(10, () => one.connection !== undefined)
  const [session] = network.endpoint.sessions()
  await network.run(2)
  const { plane } = network
  const send = plane.sendControl.bind(plane)
  const asked: string[] = []
  plane.sendControl = (path, packet) => {
    asked.push(path.local)
    send(path, packet)
  }
  one.path = { ...one.path, local: '192.0.2.2' }
  one.vpn.renegotiate()
  assert.ok(await network.run(5, () => one.vpn.renegotiations === 1))
  assert.deepEqual([...new Set(asked)], ['192.0.2.2'])
  const controls = one.sent.filter(packet => opcodeOf(packet[0]) !== OPCODE.dataV2)
  const forged = Uint8Array.from(controls.at(-1)!)
  forged[20] ^= 1
  for (const packet of [...controls, forged]) {
    network.endpoint.receive({ ...one.path, local: '192.0.2.3' }, packet)
  }
  assert.equal(session.path.local, '192.0.2.2')
})

test('a second connection of a client counts only once it is authenticated', async () => {
  const network = new SimulatedNetwork(world)
  const id = 'fedcba9876543210'
  const one = network.client('one', {}, { id })
  await network.run(10, () => one.connection !== undefined)
  const [first] = network.endpoint.sessions()
  const again = network.client('one', {}, { id })
  await network.run(1, () => network.endpoint.handshaking === 1)
  assert.equal(first.state, 'open')
  await network.run(10, () => again.connection !== undefined)
  assert.equal(first.state, 'closed')
  assert.deepEqual(network.log, [
    'up one',
    'up one',
    'down one: replaced by a newer session of the same client',
  ])
  assert.notEqual(one.connection!.peerId, again.connection!.peerId)
})

test('idle, exit and rekey of the data plane reach the session', async () => {
  const network = new SimulatedNetwork(world)
  const clients = ['one', 'two', 'three'].map(name => network.client(name))
  await network.run(10, () => clients.every(client => client.connection))
  const [one, two, three] = clients.map(client => client.connection!.peerId)
  await network.run(2)
  network.endpoint.rekeyNeeded(one)
  await network.run(5, () => clients[0].vpn.renegotiations === 1)
  assert.equal(clients[0].vpn.renegotiations, 1)
  network.endpoint.portIdle(two)
  network.endpoint.portExit(three)
  network.endpoint.portExit(three)
  network.endpoint.portIdle(0xabcdef)
  assert.deepEqual(network.log.slice(3), ['down two: no packet for too long', 'down three: the client left'])
  assert.deepEqual([...network.plane.ports.keys()], [one])
})
