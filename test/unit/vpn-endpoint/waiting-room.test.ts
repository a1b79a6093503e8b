// In a crowd, handshakes begin a few at a time, and those in the middle of theirs go first.
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { TlsConnection } from '../../../node/switch/sys/tls.ts'
import { ControlWrap } from '../../../node/vpn/control-wrap.ts'
import type { Newcomer } from '../../../node/vpn/first-exchange.ts'
import { OPCODE } from '../../../node/vpn/packet.ts'
import { TlsCrypt } from '../../../node/vpn/tls-crypt.ts'
import { WaitingRoom } from '../../../node/vpn/waiting-room.ts'
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
  room.add('a', path, newcomer(words))
  room.add('b', path, newcomer(words))
  assert.equal(room.keep('c', Buffer.from('nobody')), false)
  for (let i = 0; i < 5; i++) {
    const packet = Buffer.from(`more ${i}`)
    assert.equal(room.keep('a', packet), true)
    packet.fill(0)
  }
  assert.equal(room.size, 2)
  const first = room.take()
  assert.equal(Buffer.from(first!.newcomer.packet.body.payload).toString(), 'hello')
  assert.deepEqual(
    first!.further.map(packet => Buffer.from(packet).toString()),
    ['more 0', 'more 1', 'more 2'],
  )
  assert.equal(room.has('a'), false)
  assert.equal(room.has('b'), true)
  room.clear()
  assert.equal(room.take(), undefined)
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
