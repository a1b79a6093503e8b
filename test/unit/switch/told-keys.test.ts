// What the main thread sends and what it tells the loop go different ways: a peer that hears of a key by the one must find the
// loop to have it by the other, however fast it is.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import { Worker } from 'node:worker_threads'
import type { Path } from '../../../node/switch/path.ts'
import { eventually, ipv4Packet, newKeys, sealData } from './peer.ts'
import { A, B, startTestSwitch } from './running.ts'

const ROUNDS = 60
/** More than are sent by one call. */
const CONTROL_PACKETS = 150

/** A thread that answers the first control packet of a round by what it was given before. */
const ANSWERER = `
const { parentPort } = require('node:worker_threads')
const socket = require('node:dgram').createSocket('udp4')
let given
parentPort.on('message', message => {
  given = message
  parentPort.postMessage(socket.address().port)
})
socket.on('message', (control, from) => {
  if (given?.round !== control[1]) return
  socket.send(given.answer, from.port, from.address)
  given = undefined
})
socket.bind(0, '127.0.0.1', () => parentPort.postMessage(socket.address().port))
`

test('a peer may use a key as soon as it was told of it', async t => {
  await using net = await startTestSwitch()
  const answerer = new Worker(ANSWERER, { eval: true })
  t.after(() => answerer.terminate())
  const [port] = (await once(answerer, 'message')) as [number]
  const path: Path = { ...net.a.path, port }
  for (let round = 0; round < ROUNDS; round++) {
    const keys = newKeys()
    const keyId = round % 8
    const go = Buffer.from([4 << 3, round])
    answerer.postMessage({ round, answer: sealData(keys, keyId, net.a.peerId, 1, ipv4Packet(A, B)) })
    await once(answerer, 'message')
    // Some are gathered before the key is there, so that it is told between two calls, too.
    const before = round % 2 === 0 ? 0 : 63
    for (let i = 0; i < before; i++) net.running.sendControl(net.b.path, go)
    net.running.setKey(net.a.peerId, keyId, keys)
    for (let i = before; i < CONTROL_PACKETS; i++) net.running.sendControl(path, go)
    await eventually(() => net.running.counters().rxPackets > round, 'the answer')
  }
  const sent = () => net.running.counters().controlTx === ROUNDS * CONTROL_PACKETS
  await eventually(sent, 'all control packets are sent')
  assert.deepEqual(net.drops(), {})
})
