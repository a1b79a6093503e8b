import assert from 'node:assert/strict'
import { test } from 'node:test'
import { mayOpenSession, SessionCookie } from '../../../node/vpn/cookie.ts'
import { decodePlain, encodePlain, OPCODE, type PlainPacket } from '../../../node/vpn/packet.ts'
import { counting, hex } from './published-keys.ts'

const CLIENT = counting(8)
const REMOTE = '15.240.0.255:1195'
const HAND_WINDOW_S = 100
const SLOT_MS = (HAND_WINDOW_S / 2) * 1000

function cookie(secret = 1): SessionCookie {
  return new SessionCookie(new Uint8Array(32).fill(secret), HAND_WINDOW_S)
}

test('a cookie is good in its slot and the two after it, never before', () => {
  const made = cookie().make(10 * SLOT_MS + 5000, REMOTE, CLIENT)
  const verdicts = [8, 9, 10, 11, 12, 13, 14].map(slot => [
    cookie().check(slot * SLOT_MS, REMOTE, CLIENT, made),
    cookie().check((slot + 1) * SLOT_MS - 1, REMOTE, CLIENT, made),
  ])
  assert.deepEqual(verdicts, [
    [false, false],
    [false, false],
    [true, true],
    [true, true],
    [true, true],
    [false, false],
    [false, false],
  ])
})

test('a cookie is for one address, one client session and one secret', () => {
  const made = cookie().make(0, REMOTE, CLIENT)
  assert.equal(cookie().check(0, REMOTE, CLIENT, made), true)
  assert.equal(cookie().check(0, '15.240.0.255:1196', CLIENT, made), false)
  assert.equal(cookie().check(0, REMOTE, counting(9).subarray(1), made), false)
  assert.equal(cookie(2).check(0, REMOTE, CLIENT, made), false)
})

// CVE-2025-13086 was this comparison turned round.
test('no other session id passes: each byte counts, as does the length', () => {
  const made = cookie().make(0, REMOTE, CLIENT)
  for (let at = 0; at < made.length; at++) {
    const other = made.slice()
    other[at] ^= 0x80
    assert.equal(cookie().check(0, REMOTE, CLIENT, other), false, `byte ${at}`)
  }
  for (const length of [0, 7, 9])
    assert.equal(cookie().check(0, REMOTE, CLIENT, new Uint8Array(length)), false)
})

test('a cookie is never zero, which is no session id', () => {
  const tag = (): Uint8Array => new Uint8Array(32)
  const zero = new SessionCookie(new Uint8Array(32), HAND_WINDOW_S, () => ({ tag, ctr: tag }))
  const made = zero.make(0, REMOTE, CLIENT)
  assert.notDeepEqual(made, new Uint8Array(8))
  assert.ok(zero.check(0, REMOTE, CLIENT, made))
})

// OpenVPN's tests/unit_tests/openvpn/test_pkt.c: the plain acknowledgement opens a session, the same with "ack 2" and
// a control packet that is "message 2" do not.
const ACK = decodePlain(hex('28 aeb9afe1f01d79c8 01 00000000 dd85db535623b02e'))!
const CONTROL = decodePlain(hex('20 7819bf2ebcd19a45 01 00000000 eafebfa4418ae31b 00000001 160301'))!

function opens(packet: PlainPacket): boolean {
  const { opcode, keyId, body } = decodePlain(encodePlain(packet))!
  return mayOpenSession(opcode, keyId, body)
}

test('an answer to the first reset may open a session', () => {
  assert.ok(opens(ACK))
  assert.ok(opens(CONTROL))
  assert.ok(opens({ ...CONTROL, opcode: OPCODE.controlWkcV1 }))
  assert.ok(opens({ ...CONTROL, body: { ...CONTROL.body, acks: [0, 1] } }))
})

test('anything that can only come later may not', () => {
  assert.ok(!opens({ ...ACK, body: { ...ACK.body, acks: [2] } }), 'ack 2')
  assert.ok(!opens({ ...ACK, body: { ...ACK.body, acks: [0, 2] } }), 'ack 0 and 2')
  assert.ok(!opens({ ...CONTROL, body: { ...CONTROL.body, messageId: 2 } }), 'message 2')
  assert.ok(!opens({ ...CONTROL, body: { ...CONTROL.body, acks: [], remoteSid: undefined } }), 'no cookie')
  assert.ok(!opens({ ...CONTROL, keyId: 1 }), 'another key')
  assert.ok(!opens({ ...CONTROL, opcode: OPCODE.softResetV1 }), 'renegotiation')
  assert.ok(!opens({ ...CONTROL, opcode: OPCODE.hardResetClientV3 }), 'a reset')
})
