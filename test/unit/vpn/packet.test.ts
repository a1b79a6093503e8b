import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  decodeControlBody,
  decodePlain,
  encodeControlBody,
  encodePlain,
  firstByte,
  isControl,
  keyIdOf,
  MAX_ACKS,
  OPCODE,
  opcodeOf,
  type PlainPacket,
} from '../../../node/vpn/packet.ts'
import { hex } from './published-keys.ts'

// Packets of OpenVPN's tests/unit_tests/openvpn/test_pkt.c, without wrapping.
const RESET = hex('38 68 91 92 3f a3 10 34 37 00 00 00 00 00')
const CONTROL_WITH_ACK = hex('20 7819bf2ebcd19a45 01 00000000 eafebfa4418ae31b 00000001 160301')
const ACK = hex('28 aeb9afe1f01d79c8 01 00000000 dd85db535623b02e')

test('published packets are read and written byte for byte', () => {
  const packets: [Uint8Array, PlainPacket][] = [
    [
      RESET,
      {
        opcode: OPCODE.hardResetClientV2,
        keyId: 0,
        sid: hex('689192 3fa3103437'),
        body: { acks: [], remoteSid: undefined, messageId: 0, payload: hex('') },
      },
    ],
    [
      CONTROL_WITH_ACK,
      {
        opcode: OPCODE.controlV1,
        keyId: 0,
        sid: hex('7819bf2ebcd19a45'),
        body: { acks: [0], remoteSid: hex('eafebfa4418ae31b'), messageId: 1, payload: hex('160301') },
      },
    ],
    [
      ACK,
      {
        opcode: OPCODE.ackV1,
        keyId: 0,
        sid: hex('aeb9afe1f01d79c8'),
        body: { acks: [0], remoteSid: hex('dd85db535623b02e'), payload: hex('') },
      },
    ],
  ]
  for (const [bytes, packet] of packets) {
    assert.deepEqual(decodePlain(bytes), packet)
    assert.deepEqual(encodePlain(packet), bytes)
  }
})

test('a packet cut anywhere before its payload is refused', () => {
  for (const [packet, least] of [
    [RESET, 14],
    [CONTROL_WITH_ACK, 26],
    [ACK, 22],
  ] as const) {
    for (let length = 0; length < least; length++) {
      assert.equal(decodePlain(packet.subarray(0, length)), undefined, `${length} bytes of ${least}`)
    }
  }
})

test('eight acknowledgements are accepted, nine are not', () => {
  const body = (count: number) =>
    encodeControlBody(OPCODE.ackV1, {
      acks: Array.from({ length: count }, (_, i) => i),
      remoteSid: new Uint8Array(8),
      payload: new Uint8Array(0),
    })
  assert.equal(MAX_ACKS, 8)
  assert.equal(decodeControlBody(OPCODE.ackV1, body(8))?.acks.length, 8)
  assert.equal(decodeControlBody(OPCODE.ackV1, body(9)), undefined)
  assert.equal(decodeControlBody(OPCODE.ackV1, body(255)), undefined)
})

test('an acknowledgement of nothing is refused', () => {
  assert.equal(decodeControlBody(OPCODE.ackV1, Uint8Array.of(0)), undefined)
})

test('obsolete resets and data packets are not control packets', () => {
  const control = Array.from({ length: 32 }, (_, opcode) => opcode).filter(isControl)
  assert.deepEqual(control, [3, 4, 5, 7, 8, 10, 11])
  for (const opcode of [0, 1, 2, OPCODE.dataV1, OPCODE.dataV2, 12, 31]) {
    const packet = CONTROL_WITH_ACK.slice()
    packet[0] = opcode << 3
    assert.equal(decodePlain(packet), undefined, `opcode ${opcode}`)
  }
})

test('the first byte holds opcode and key id', () => {
  assert.equal(firstByte(OPCODE.hardResetServerV2, 0), 0x40)
  assert.equal(firstByte(OPCODE.dataV2, 7), 0x4f)
  assert.equal(opcodeOf(0x27), OPCODE.controlV1)
  assert.equal(keyIdOf(0x27), 7)
})

test('ids are unsigned', () => {
  const body = {
    acks: [0xffffffff],
    remoteSid: new Uint8Array(8),
    messageId: 0xfffffffe,
    payload: new Uint8Array(0),
  }
  assert.deepEqual(decodeControlBody(OPCODE.controlV1, encodeControlBody(OPCODE.controlV1, body)), body)
})
