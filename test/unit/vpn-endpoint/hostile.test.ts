// What strangers and misbehaving clients send: nothing of it costs memory, and nobody else notices.
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import type { Path } from '../../../node/switch/path.ts'
import { ControlWrap } from '../../../node/vpn/control-wrap.ts'
import type { DataPlane } from '../../../node/vpn/data-plane.ts'
import { type ControlBody, OPCODE } from '../../../node/vpn/packet.ts'
import { EARLY_NEGOTIATION_START } from '../../../node/vpn/packet-id.ts'
import { parseProfile } from '../../../node/vpn/profile.ts'
import { TlsCrypt } from '../../../node/vpn/tls-crypt.ts'
import { SimulatedNetwork, seededRandom } from './simulated-network.ts'
import { World } from './world.ts'

const world = new World()
const { tlsCryptV2 } = parseProfile(world.pack('attacker'))

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

function heap(): number {
  collect()
  collect()
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

function pathOf(i: number): Path {
  return {
    socket: 0,
    remote: `198.51.${(i >> 8) & 255}.${i & 255}`,
    port: 1024 + (i >> 16),
    local: '',
    ifindex: 0,
  }
}

/** A genuine first packet of a session of its own. */
function firstPacket(counter: number): Uint8Array {
  const wrap = new ControlWrap(new TlsCrypt(tlsCryptV2.kc, 'client'), Date.now(), counter)
  const body = { acks: [], messageId: 0, payload: new Uint8Array(0) }
  return Buffer.concat([wrap.wrap(OPCODE.hardResetClientV3, 0, randomBytes(8), body), tlsCryptV2.wkc])
}

class DeafPlane implements DataPlane {
  answers = 0
  sendControl(): void {
    this.answers++
  }
  openPort(): void {}
  setKey(): void {}
  useKey(): void {}
  dropKey(): void {}
  movePort(): void {}
  setSources(): void {}
  closePort(): void {}
}

for (const [kind, counter] of [
  ['2.6', EARLY_NEGOTIATION_START + 1],
  ['2.5', 1],
] as const) {
  test(`genuine first packets of ${kind} from forged addresses cost no memory`, () => {
    const plane = new DeafPlane()
    const { endpoint, log } = world.endpoint(plane, { resetsPerSecond: 1e9 })
    const packets = Array.from({ length: 200 }, () => firstPacket(counter))
    const flood = (from: number, count: number): void => {
      for (let i = from; i < from + count; i++) endpoint.receive(pathOf(i), packets[i % packets.length])
    }
    // The table of 2.5's keys is full from here on.
    flood(0, 3000)
    const before = heap()
    flood(3000, 12_000)
    const grown = heap() - before
    assert.ok(grown < 300_000, `grew by ${grown} bytes`)
    assert.equal(plane.answers, endpoint.counters.resets)
    assert.ok(endpoint.counters.resets > 3000)
    assert.equal(endpoint.handshaking, 0)
    assert.deepEqual(log, [])
  })
}

test('first packets are answered at a limited rate', () => {
  const plane = new DeafPlane()
  const now = Date.now()
  const { endpoint } = world.endpoint(plane, { resetsPerSecond: 50, now: () => now })
  for (let i = 0; i < 300; i++) endpoint.receive(pathOf(i), firstPacket(EARLY_NEGOTIATION_START + 1))
  assert.equal(plane.answers, 100)
  assert.equal(endpoint.counters.resetsLimited, 200)
})

test('forged first packets do not use up the answers of genuine ones', () => {
  const plane = new DeafPlane()
  const now = Date.now()
  const { endpoint } = world.endpoint(plane, { resetsPerSecond: 50, now: () => now })
  const forged = firstPacket(1)
  forged[20] ^= 1
  for (let i = 0; i < 1000; i++) endpoint.receive(pathOf(i), forged)
  assert.equal(plane.answers, 0)
  endpoint.receive(pathOf(1), firstPacket(1))
  assert.equal(plane.answers, 1)
  assert.equal(endpoint.counters.controlForged, 1000)
})

test('a packet that follows no answer of ours opens nothing', async () => {
  const network = new SimulatedNetwork(world)
  const one = network.client('one')
  await network.run(10, () => one.connection !== undefined)
  const third = one.sent.find(packet => packet[0] === OPCODE.controlWkcV1 << 3)!
  const { endpoint } = world.endpoint(new DeafPlane())
  endpoint.receive(one.path, third)
  assert.equal(endpoint.counters.cookieInvalid, 1)
  // The right endpoint, another address.
  network.endpoint.close()
  const before = network.endpoint.counters.handshakes
  network.endpoint.receive({ ...one.path, port: one.path.port + 1 }, third)
  assert.equal(network.endpoint.counters.handshakes, before)
  assert.equal(network.endpoint.counters.cookieInvalid, 1)
  assert.equal(network.endpoint.handshaking, 0)
})

test('everything that a client ever sent, sent again, changes nothing', async () => {
  const network = new SimulatedNetwork(world)
  const one = network.client('one', { renegotiationMs: 3000 })
  await network.run(10, () => one.vpn.renegotiations === 2)
  const controls = network.plane.controlPackets
  const { counters } = network.endpoint
  const before = { ...counters }
  const old = [...one.sent]
  for (const packet of old) if (packet[0] >> 3 !== OPCODE.dataV2) network.endpoint.receive(one.path, packet)
  await network.run(2)
  assert.ok(counters.controlReplayed > before.controlReplayed)
  assert.equal(counters.resetsReplayed, 1)
  assert.equal(counters.sessionsOpened, 1)
  assert.equal(counters.renegotiations, before.renegotiations)
  assert.ok(network.plane.controlPackets - controls <= 2)
  assert.equal(one.end, undefined)
  assert.deepEqual(network.log, ['up one'])
})

test('acknowledgements for another session are not taken', async () => {
  const network = new SimulatedNetwork(world)
  const one = network.client('one')
  await network.run(10, () => one.connection !== undefined)
  const [session] = network.endpoint.sessions()
  network.weather = { loss: 1 }
  await network.run(2)
  session.renegotiate()
  const wrap = new ControlWrap(new TlsCrypt(one.settings.key.kc, 'client'), network.now, 1)
  const body = { acks: [0], remoteSid: randomBytes(8), payload: new Uint8Array(0) }
  network.endpoint.receive(one.path, wrap.wrap(OPCODE.ackV1, 0, session.clientSid, body))
  assert.equal(network.endpoint.counters.controlMalformed, 1)
})

test('mutated packets of a live session are dropped and counted, and it lives on', async () => {
  const network = new SimulatedNetwork(world)
  const one = network.client('one', { renegotiationMs: 2500 })
  await network.run(10, () => one.vpn.renegotiations === 1)
  const random = seededRandom(7)
  const genuine = one.sent.filter(packet => packet[0] >> 3 !== OPCODE.dataV2)
  let inputs = 0
  for (; inputs < 20_000; inputs++) {
    const packet = Uint8Array.from(genuine[Math.floor(random() * genuine.length)])
    const cut = random() < 0.3 ? packet.subarray(0, Math.floor(random() * packet.length)) : packet
    for (let flips = 1 + Math.floor(random() * 3); flips > 0 && cut.length > 0; flips--) {
      cut[Math.floor(random() * cut.length)] ^= 1 << Math.floor(random() * 8)
    }
    network.endpoint.receive(one.path, cut)
  }
  for (const size of [0, 1, 8, 9, 10, 50, 1500, 9000, 65_507]) {
    for (let first = 0; first < 256; first++) {
      const packet = randomBytes(size)
      if (size > 0) packet[0] = first
      network.endpoint.receive(one.path, packet)
    }
  }
  await network.run(6)
  assert.equal(one.end, undefined)
  assert.deepEqual(network.log, ['up one'])
  assert.ok(one.vpn.renegotiations >= 3)
  assert.equal(network.endpoint.handshaking, 0)
  assert.equal(network.endpoint.counters.internalErrors, 0)
})

test('a fault in one session ends that session alone', async () => {
  const network = new SimulatedNetwork(world)
  const one = network.client('one')
  await network.run(10, () => one.connection !== undefined)
  const { setKey } = network.plane
  network.plane.setKey = () => {
    throw new Error('out of keys')
  }
  const two = network.client('two')
  await network.run(10, () => network.log.length > 1)
  network.plane.setKey = setKey
  assert.deepEqual(network.log, ['up one', 'down two: internal error: out of keys'])
  assert.equal(network.endpoint.counters.internalErrors, 1)
  const three = network.client('three')
  await network.run(10, () => three.connection !== undefined)
  assert.equal(one.end, undefined)
  assert.equal(two.connection, undefined)
  await network.run(2)
  network.plane.sendControl = () => {
    throw new Error('no route')
  }
  network.plane.closePort = () => {
    throw new Error('no port')
  }
  one.vpn.renegotiate()
  await network.run(1)
  assert.equal(network.endpoint.counters.internalErrors, 2)
  assert.deepEqual(network.log.slice(3), ['down one: internal error: no route'])
  assert.deepEqual(
    [...network.endpoint.sessions()].map(({ name }) => name),
    ['three'],
  )
})

test('handshakes are bounded, and those that are refused count until they are forgotten', async () => {
  const network = new SimulatedNetwork(world, {}, { maxHandshakes: 3, settings: { handshakeMs: 20_000 } })
  for (let i = 0; i < 5; i++) network.client(`c${i}`)
  await network.run(5, () => network.endpoint.counters.handshakesLimited > 0)
  assert.ok(network.endpoint.handshaking <= 3)
  assert.ok(await network.run(30, () => network.clients.every(client => client.connection)))
})

test('a client whose handshakes fail takes up one place, however many it begins', async () => {
  const answers: Uint8Array[] = []
  const plane: DataPlane = new DeafPlane()
  plane.sendControl = (_path, packet) => void answers.push(packet)
  const { endpoint, log } = world.endpoint(plane, { maxHandshakes: 3 })
  for (let i = 0; i < 10; i++) {
    const wrap = new ControlWrap(
      new TlsCrypt(tlsCryptV2.kc, 'client'),
      Date.now(),
      EARLY_NEGOTIATION_START + 1,
    )
    const sid = randomBytes(8)
    const send = (opcode: number, body: ControlBody): void =>
      endpoint.receive(pathOf(i), Buffer.concat([wrap.wrap(opcode, 0, sid, body), tlsCryptV2.wkc]))
    send(OPCODE.hardResetClientV3, { acks: [], messageId: 0, payload: new Uint8Array(0) })
    const answer = wrap.unwrap(answers.at(-1)!)
    assert.ok(answer !== undefined && answer !== 'replay')
    // A TLS record of a kind that there is not.
    const payload = Uint8Array.of(0x7f, 3, 1, 0, 1, 0)
    send(OPCODE.controlWkcV1, { acks: [0], remoteSid: answer.sid, messageId: 1, payload })
    for (let turns = 0; turns < 100 && log.length <= i; turns++) await setImmediate()
    endpoint.poll()
  }
  assert.equal(log.length, 10)
  assert.equal(endpoint.counters.handshakesLimited, 0)
  assert.equal(endpoint.handshaking, 1)
  endpoint.close()
})

test('sessions are bounded; who is there already may come again', async () => {
  const network = new SimulatedNetwork(world, {}, { maxSessions: 1 })
  const one = network.client('one')
  await network.run(5, () => one.connection !== undefined)
  const two = network.client('two')
  await network.run(5, () => two.end !== undefined)
  assert.partialDeepStrictEqual(two.end, { kind: 'auth-failed', reason: 'this controller is full' })
  assert.ok(two.end?.kind === 'auth-failed' && two.end.temporary)
})

test('an old pack can be refused before TLS', async () => {
  const seen: string[] = []
  const network = new SimulatedNetwork(
    world,
    {},
    {
      acceptClientKey: metadata => {
        seen.push(Buffer.from(metadata).toString('latin1'))
        return false
      },
    },
  )
  const one = network.client('one', { pollMs: 3000 })
  await network.run(5, () => one.end !== undefined)
  assert.deepEqual(one.end, { kind: 'no-answer' })
  assert.equal(network.plane.controlPackets, 0)
  assert.ok(network.endpoint.counters.clientKeyRefused > 0)
  assert.equal(seen[0], '\0test')
})

test('sessions that are over leave nothing behind', async () => {
  const network = new SimulatedNetwork(world)
  const names = Array.from({ length: 40 }, (_, i) => `c${i}`)
  const packs = names.map(name => world.pack(name))
  const round = async (): Promise<void> => {
    for (const [i] of names.entries()) network.client(names[i], { pingRestartMs: 0 })
    await network.run(20, () => network.clients.every(client => client.connection))
    for (const { vpn } of network.clients) vpn.leave()
    await network.run(2)
    for (const { vpn } of network.clients) vpn.close()
    network.clients.length = 0
    network.log.length = 0
    network.plane.calls.length = 0
    await network.run(70)
  }
  for (let i = 0; i < 3; i++) await round()
  const before = heap()
  for (let i = 0; i < 5; i++) await round()
  const grown = heap() - before
  // 200 sessions; one alone holds over 50 kB.
  assert.ok(grown < 2_000_000, `grew by ${grown} bytes`)
  assert.equal(network.endpoint.handshaking, 0)
  assert.equal([...network.endpoint.sessions()].length, 0)
  assert.ok(packs.length > 0)
})
