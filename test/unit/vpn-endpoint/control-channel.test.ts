import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { ControlChannel } from '../../../node/vpn/control-channel.ts'
import { type ControlPacket, ControlWrap } from '../../../node/vpn/control-wrap.ts'
import { OPCODE } from '../../../node/vpn/packet.ts'
import type { TlsHandlers } from '../../../node/vpn/tls.ts'
import { TlsCrypt } from '../../../node/vpn/tls-crypt.ts'

/** Of a wrapped key, whatever is in it. */
const KEY_LENGTH = 300

function channel() {
  const key = randomBytes(256)
  const peer = new ControlWrap(new TlsCrypt(key, 'client'), 0)
  const [localSid, remoteSid] = [randomBytes(8), randomBytes(8)]
  const state = {
    now: 0,
    sent: [] as ControlPacket[],
    /** How many of them had a wrapped key behind them. */
    keys: 0,
    closed: [] as string[],
    /** Bytes that TLS was given. */
    received: 0,
    tls: undefined as TlsHandlers | undefined,
  }
  const made = new ControlChannel({
    keyId: 0,
    firstMessage: 0,
    wrap: new ControlWrap(new TlsCrypt(key, 'server'), 0),
    localSid,
    remoteSid,
    send: packet => {
      const bare = peer.unwrap(packet)
      const unwrapped = bare ?? peer.unwrap(packet.subarray(0, -KEY_LENGTH))
      if (!bare) state.keys++
      assert.ok(unwrapped && unwrapped !== 'replay')
      state.sent.push(unwrapped)
    },
    now: () => state.now,
    tls: handlers => {
      state.tls = handlers
      return {
        receive: bytes => {
          state.received += bytes.length
        },
        write() {},
        exportKey: length => new Uint8Array(length),
        peer: undefined,
        certificateProblem: undefined,
        version: '',
        close() {},
      }
    },
    secure() {},
    data() {},
    closed: reason => state.closed.push(reason),
  })
  made.startTls()
  const message = (messageId: number, payload: Uint8Array = randomBytes(1000)): void =>
    made.receive(OPCODE.controlV1, { acks: [], messageId, payload })
  return { made, state, message, localSid, remoteSid }
}

test('a peer that has not shown who it is gets 64 kB to do so', () => {
  const { state, message } = channel()
  for (let id = 0; id < 200; id++) message(id)
  assert.deepEqual(state.closed, ['the handshake is too long'])
  assert.equal(state.received, 65_000)
})

test('the last byte of the 64 kB counts', () => {
  for (const [last, closed] of [
    [536, []],
    [537, ['the handshake is too long']],
  ] as const) {
    const { state, message } = channel()
    for (let id = 0; id < 65; id++) message(id)
    message(65, randomBytes(last))
    assert.deepEqual(state.closed, closed)
  }
})

test('a packet has four acknowledgements beside a message, and eight alone', () => {
  const { made, state, message } = channel()
  for (let id = 11; id > 0; id--)
    made.receive(OPCODE.controlV1, { acks: [], messageId: id, payload: randomBytes(1) })
  message(0)
  assert.equal(Math.max(...state.sent.map(({ body }) => body.acks.length)), 8)
  state.sent.length = 0
  state.tls?.output(randomBytes(2000))
  assert.deepEqual(
    state.sent.map(({ opcode, body }) => [opcode, body.acks.length]),
    [
      [OPCODE.controlV1, 4],
      [OPCODE.controlV1, 4],
    ],
  )
})

test('a wrapped key goes with message 1 and no other, each time that is sent', () => {
  const { made, state } = channel()
  made.resendKey(new Uint8Array(KEY_LENGTH))
  made.sendReset(OPCODE.hardResetClientV3)
  state.tls?.output(randomBytes(2000))
  state.now = 2000
  made.flush()
  const sent = state.sent.map(({ opcode, body }) => [opcode, body.messageId])
  const all = [
    [OPCODE.hardResetClientV3, 0],
    [OPCODE.controlWkcV1, 1],
    [OPCODE.controlV1, 2],
  ]
  assert.deepEqual(sent, [...all, ...all])
  assert.equal(state.keys, 2)
})

test('who has shown it may go on', () => {
  const { state, message } = channel()
  for (let id = 0; id < 10; id++) message(id)
  state.tls?.secure()
  for (let id = 10; id < 200; id++) message(id)
  assert.deepEqual(state.closed, [])
  assert.equal(state.received, 200_000)
})

test('acknowledgements ride on messages, and go alone when none comes', () => {
  const { made, state, message } = channel()
  message(0)
  assert.equal(state.sent.length, 0)
  state.tls?.output(randomBytes(100))
  assert.deepEqual(
    state.sent.map(({ opcode, body }) => [opcode, body.acks]),
    [[OPCODE.controlV1, [0]]],
  )
  made.receive(OPCODE.ackV1, { acks: [0], payload: new Uint8Array(0) })
  message(1)
  assert.equal(state.sent.length, 1)
  assert.equal(made.deadline(), 10)
  state.now = 10
  made.flush()
  assert.deepEqual(state.sent.at(-1)?.opcode, OPCODE.ackV1)
  assert.deepEqual(state.sent.at(-1)?.body.acks, [1, 0])
  assert.equal(made.deadline(), Number.POSITIVE_INFINITY)
  for (let id = 2; id < 6; id++) message(id)
  assert.deepEqual(state.sent.at(-1)?.body.acks.slice(0, 4), [2, 3, 4, 5], 'many are not made to wait')
})

test('TLS is cut into packets that pass everywhere', () => {
  const { made, state } = channel()
  state.tls?.output(randomBytes(5000))
  assert.equal(state.sent.length, 5)
  assert.ok(state.sent.every(({ body }) => body.payload.length <= 1100))
  assert.ok(!made.idle)
})

test('a peer that acknowledges nothing is given up when the queue is full', () => {
  const { state } = channel()
  for (let i = 0; i < 100; i++) state.tls?.output(randomBytes(1000))
  assert.equal(state.closed[0], 'the peer does not acknowledge control messages')
  assert.ok(state.sent.length <= 6)
})

test('acknowledgements alone change no more than what waits for them', () => {
  const { made, state } = channel()
  state.tls?.output(randomBytes(100))
  made.receive(OPCODE.ackV1, { acks: [0], payload: new Uint8Array(0) })
  assert.ok(made.idle)
  assert.equal(state.sent.length, 1)
  assert.equal(made.deadline(), Number.POSITIVE_INFINITY)
})

test('nothing is sent after close', () => {
  const { made, state, message } = channel()
  made.close()
  message(0)
  made.acknowledge()
  assert.equal(state.sent.length, 0)
  assert.equal(made.deadline(), Number.POSITIVE_INFINITY)
})
