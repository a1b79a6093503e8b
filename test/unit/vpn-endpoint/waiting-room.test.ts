// In a crowd, handshakes begin a few at a time, and those in the middle of theirs go first.
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { TlsConnection } from '../../../node/switch/sys/tls.ts'
import { ControlWrap } from '../../../node/vpn/control-wrap.ts'
import type { Newcomer } from '../../../node/vpn/first-exchange.ts'
import { OPCODE, opcodeOf } from '../../../node/vpn/packet.ts'
import { TlsCrypt } from '../../../node/vpn/tls-crypt.ts'
import { WaitingRoom } from '../../../node/vpn/waiting-room.ts'
import { heapUsed } from '../../fuzz/mutate.ts'
import { SimulatedNetwork } from './simulated-network.ts'
import { World } from './world.ts'

const path = { socket: 0, remote: '192.0.2.1', port: 1, local: '', ifindex: 0 }

function newcomer(payload: Uint8Array): Newcomer {
  const [clientSid, serverSid, clientKey] = [randomBytes(8), randomBytes(8), randomBytes(256)]
  const body = { acks: [0], remoteSid: serverSid, messageId: 1, payload }
  const packet = { opcode: OPCODE.controlWkcV1, keyId: 0, sid: clientSid, counter: 1, body }
  return {
    clientSid,
    serverSid,
    clientKey,
    wrap: new ControlWrap(new TlsCrypt(clientKey, 'server'), 0),
    packet,
  }
}

test('who waited longest is first, with what it said meanwhile, as far as that is kept', () => {
  const room = new WaitingRoom()
  const words = Buffer.from('hello')
  room.add(0, 'alice', 'a', path, newcomer(words))
  room.add(1, 'bob', 'b', path, newcomer(words))
  assert.equal(room.keep('c', Buffer.from('nobody')), false)
  for (let i = 0; i < 5; i++) {
    const packet = Buffer.from(`more ${i}`)
    assert.equal(room.keep('a', packet), true)
    packet.fill(0)
  }
  assert.equal(room.size, 2)
  const first = room.take(1000)
  assert.equal(Buffer.from(first!.newcomer.packet.body.payload).toString(), 'hello')
  assert.deepEqual(
    first!.further.map(packet => Buffer.from(packet).toString()),
    ['more 0', 'more 1', 'more 2'],
  )
  assert.equal(room.has('a'), false)
  assert.equal(room.has('b'), true)
  room.clear()
  assert.equal(room.take(1000), undefined)
})

/** Takes all who wait, one each `ms`, from a time on. */
function takeAll(room: WaitingRoom, from: number, ms: number): (number | undefined)[] {
  const taken: (number | undefined)[] = []
  for (let now = from; room.size > 0; now += ms) taken.push(room.take(now)?.path.port)
  return taken
}

test('once somebody has waited for long, the newest are first; who has waited for too long is not there any more', () => {
  const room = new WaitingRoom()
  const at = (port: number) => ({ ...path, port })
  for (let i = 0; i < 8; i++) room.add(i, `client ${i}`, `sid ${i}`, at(i), newcomer(Buffer.from('hello')))
  assert.deepEqual(takeAll(room, 1000, 500), [0, 1, 2, 7, 6, 5, 4, 3])
  for (let i = 0; i < 4; i++)
    room.add(i * 3000, `client ${i}`, `sid ${i}`, at(i), newcomer(Buffer.from('hello')))
  assert.equal(room.take(11_000)?.path.port, 3)
  assert.deepEqual([room.size, room.has('sid 0'), room.has('sid 1')], [2, false, true])
  assert.equal(room.take(100_000), undefined)
  assert.equal(room.size, 0)
})

test('clients that begin anew without end leave nothing behind', () => {
  const room = new WaitingRoom()
  const words = newcomer(Buffer.from('hello'))
  const round = (count: number): void => {
    for (let i = 0; i < count; i++) {
      room.add(i, `client ${i % 10}`, `${i} ${'x'.repeat(20)}`, path, words)
      room.add(i, `other ${i}`, `other ${i}`, path, words)
      room.remove(`other ${i}`)
    }
  }
  round(1000)
  const before = heapUsed()
  round(100_000)
  assert.ok(heapUsed() - before < 1_000_000)
  assert.equal(room.size, 10)
})

test('of a client that begins anew only its latest attempt waits', () => {
  const latest = [990, 991, 992, 993, 994, 995, 996, 997, 998, 999]
  for (const [from, order] of [
    [1000, latest],
    [5000, latest.toReversed()],
  ] as const) {
    const room = new WaitingRoom()
    for (let i = 0; i < 1000; i++)
      room.add(i, `client ${i % 10}`, `sid ${i}`, { ...path, port: i }, newcomer(Buffer.from('hello')))
    assert.equal(room.size, 10)
    assert.deepEqual(takeAll(room, from, 0), order)
  }
})

test('where the newest are first, those that have gone meanwhile are passed over', () => {
  const room = new WaitingRoom()
  const add = (client: number, i: number) =>
    room.add(i, `client ${client}`, `sid ${i}`, { ...path, port: i }, newcomer(Buffer.from('hello')))
  for (let i = 0; i < 4; i++) add(i, i)
  for (let i = 4; i < 500; i++) add(4, i)
  add(5, 500)
  for (const gone of [5, 2]) room.remove(`client ${gone}`)
  assert.deepEqual(takeAll(room, 5000, 0), [499, 3, 1, 0])
})

test('a crowd comes in a few at a time, without a packet sent again', async () => {
  const network = new SimulatedNetwork(new World())
  const { endpoint } = network
  const clients = Array.from({ length: 40 }, (_, i) => network.client(`c${i}`))
  const poll = endpoint.poll.bind(endpoint)
  let before = 0
  let most = 0
  let waited = false
  endpoint.poll = () => {
    const next = poll()
    most = Math.max(most, endpoint.counters.handshakes - before)
    before = endpoint.counters.handshakes
    // Whoever waits is not to wait for a timer.
    if (next <= network.now) waited = true
    return next
  }
  assert.ok(await network.run(10, () => clients.every(({ connection }) => connection !== undefined)))
  assert.equal(endpoint.counters.handshakes, 40)
  assert.ok(most <= 16, `${most} at once`)
  assert.ok(waited)
  // Reset, hello with the key, the rest of the hello, certificate, key exchange, acknowledgements: 2 s later all would come again.
  const packets = Math.max(...clients.map(({ sent }) => sent.length))
  assert.ok(packets <= 14, `${packets} of one client`)
  assert.equal(endpoint.counters.controlUnexpected, 0)
  endpoint.close()
})

test('those who wait count as handshakes, and are gone when the endpoint closes', async () => {
  const living = TlsConnection.living
  const network = new SimulatedNetwork(new World(), {}, { maxHandshakes: 20 })
  const { endpoint } = network
  for (let i = 0; i < 40; i++) network.client(`c${i}`)
  const full = await network.run(1, () => endpoint.counters.handshakesLimited > 0)
  assert.ok(full)
  assert.equal(endpoint.handshaking, 20)
  endpoint.close()
  assert.equal(endpoint.handshaking, 0)
  assert.equal(TlsConnection.living, living)
})

test('nobody who waits is let in once the controller drains', async () => {
  const network = new SimulatedNetwork(new World())
  const { endpoint } = network
  for (let i = 0; i < 40; i++) network.client(`c${i}`)
  assert.ok(await network.run(1, () => endpoint.handshaking > 16))
  endpoint.drain()
  const { handshakes } = endpoint.counters
  endpoint.poll()
  assert.equal(endpoint.counters.handshakes, handshakes)
  assert.ok(endpoint.counters.handshakesLimited > 0)
  endpoint.close()
})

test('a crowd that is larger than what can be served before its clients give up gets in all the same', async () => {
  const network = new SimulatedNetwork(new World())
  const { endpoint } = network
  // Eight handshakes begin each 200 ms, and clients begin anew after 3 s: 120 of them have their turn in that time, 300 want it.
  const poll = endpoint.poll.bind(endpoint)
  let next = 0
  endpoint.poll = () => {
    if (network.now < next) return next
    next = network.now + 200
    return poll()
  }
  const clients = Array.from({ length: 300 }, (_, i) => network.client(`c${i}`, { handshakeMs: 3000 }))
  let again = 0
  const all = await network.run(30, () => {
    for (const client of clients) {
      if (client.end === undefined) continue
      network.restart(client)
      again++
    }
    return clients.every(({ connection }) => connection !== undefined)
  })
  assert.ok(all, `${clients.filter(({ connection }) => connection !== undefined).length} got in`)
  assert.ok(again > 0)
  assert.equal(endpoint.handshaking, 0)
  endpoint.close()
})

test('a client that begins anew leaves no handshake behind', async () => {
  const network = new SimulatedNetwork(new World())
  const { endpoint } = network
  // The server's answers to the hello get lost.
  network.weather = { drop: packet => opcodeOf(packet[0]) === OPCODE.controlV1 && packet.length > 1000 }
  const client = network.client('web', { handshakeMs: 2000 })
  const living = TlsConnection.living
  for (let i = 0; i < 5; i++) {
    assert.ok(await network.run(5, () => client.end !== undefined))
    network.restart(client)
  }
  assert.ok(await network.run(1, () => endpoint.counters.handshakes >= 5))
  assert.equal(endpoint.handshaking, 1)
  assert.ok(TlsConnection.living <= living + 1)
  network.weather = {}
  assert.ok(await network.run(10, () => client.connection !== undefined))
  endpoint.close()
})
