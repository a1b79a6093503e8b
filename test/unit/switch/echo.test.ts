// Echo requests out of a chosen port, and whose answers are believed.
import assert from 'node:assert/strict'
import { test } from 'node:test'
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
  const told: [number, number, number][] = []
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
