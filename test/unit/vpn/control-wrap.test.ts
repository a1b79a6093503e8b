import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ControlWrap, unwrapAlone } from '../../../node/vpn/control-wrap.ts'
import { type ControlBody, encodeControlBody, encodeHeader, OPCODE } from '../../../node/vpn/packet.ts'
import { WrapPacketIdSender } from '../../../node/vpn/packet-id.ts'
import { TlsCrypt } from '../../../node/vpn/tls-crypt.ts'
import { counting } from './published-keys.ts'

const KEY = counting(256)
const SID = counting(8)
const BODY: ControlBody = { acks: [], messageId: 3, payload: counting(20) }
const client = (): TlsCrypt => new TlsCrypt(KEY, 'client')

test('packets are numbered from the first on, of the second in which the series began', () => {
  for (const [first, counters] of [
    [undefined, [1, 2, 3]],
    [7, [7, 8, 9]],
  ] as const) {
    const wrap = new ControlWrap(new TlsCrypt(KEY, 'server'), 1_700_000_000_999, first)
    const ids = counters.map(() => client().unwrap(wrap.wrap(OPCODE.controlV1, 2, SID, BODY))!)
    assert.deepEqual(
      ids.map(({ counter, time, keyId }) => [counter, time, keyId]),
      counters.map(counter => [counter, 1_700_000_000, 2]),
    )
  }
})

test('a packet is taken once; one that is forged or malformed is not one that was seen before', () => {
  const server = new ControlWrap(new TlsCrypt(KEY, 'server'), 0)
  const id = new WrapPacketIdSender(1000).next()
  const wrapped = (body: Uint8Array): Uint8Array =>
    client().wrap(encodeHeader(OPCODE.controlV1, 1, SID), id, body)
  const good = wrapped(encodeControlBody(OPCODE.controlV1, BODY))
  const bad = wrapped(Uint8Array.of(200))
  const forged = Uint8Array.from(good)
  forged[12] ^= 1
  for (const packet of [bad, forged]) {
    assert.equal(server.unwrap(packet), undefined)
    assert.equal(unwrapAlone(new TlsCrypt(KEY, 'server'), packet), undefined)
  }
  const taken = server.unwrap(good)
  assert.ok(taken && taken !== 'replay')
  assert.deepEqual([taken.opcode, taken.keyId, taken.sid, taken.counter], [OPCODE.controlV1, 1, SID, 1])
  assert.deepEqual(unwrapAlone(new TlsCrypt(KEY, 'server'), good), taken)
  assert.equal(server.unwrap(good), 'replay')
  assert.equal(server.unwrap(bad), undefined)
})

test('a later second begins a new series, and ends the one before', () => {
  const server = new ControlWrap(new TlsCrypt(KEY, 'server'), 0)
  const [old, later] = [1000, 1001].map(second => new ControlWrap(client(), second * 1000))
  const next = (wrap: ControlWrap) => server.unwrap(wrap.wrap(OPCODE.controlV1, 0, SID, BODY))
  assert.notEqual(next(old), 'replay')
  assert.notEqual(next(later), 'replay')
  assert.equal(next(old), 'replay')
})
