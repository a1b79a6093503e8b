import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  ECHO_PROBE_LENGTH,
  echoProbeAnswer,
  echoProbeSequence,
  echoProbeSize,
  writeEchoProbe,
} from '../../../node/switch/echo-probe.ts'
import { IPV4, type PacketBuffer, validate, writeHeaderChecksum } from '../../../node/switch/ipv4.ts'
import { buffer, ip, makePacket, sumOf } from './packets.ts'

const FROM = ip('10.77.0.1')
const TO = ip('10.77.0.9')
const ICMP = 1

/** A request in memory that was in use before. */
function request(length = 200, size = 1472, sequence = 0x89abcdef): PacketBuffer {
  const packet = buffer(300)
  packet.bytes.fill(0xaa)
  writeEchoProbe(packet, length, FROM, TO, size, sequence)
  return packet
}

/** Its answer, as a host makes it, with a header as long as that. */
function answer(options = 0, length = 200): PacketBuffer {
  const payload = request(length).bytes.slice(20, length)
  payload[0] = 0
  const packet = buffer(300)
  const fields = { source: TO, destination: FROM, protocol: ICMP, options: new Uint8Array(options).fill(1) }
  packet.bytes.set(makePacket({ ...fields, payload }))
  return packet
}

test('a request is a valid echo request of that length that may not be fragmented, and nothing else is written', () => {
  for (const length of [ECHO_PROBE_LENGTH, 53, 200]) {
    const { bytes, view } = request(length)
    assert.equal(validate(bytes, view, 0, length), IPV4.ok)
    assert.deepEqual([view.getUint32(12), view.getUint32(16)], [FROM, TO])
    assert.deepEqual([view.getUint16(2), bytes[9], bytes[20]], [length, ICMP, 8])
    assert.equal(view.getUint16(6), 0x4000)
    assert.equal(sumOf(bytes.subarray(20, length)), 0)
    assert.equal(view.getUint16(26), 0xcdef, 'the sequence number')
    assert.ok(bytes.subarray(ECHO_PROBE_LENGTH, length).every(byte => byte === 0))
    assert.ok(bytes.subarray(length).every(byte => byte === 0xaa))
  }
})

test('an answer says which request it is to, whatever options its header has', () => {
  for (const options of [0, 4, 40]) {
    const packet = answer(options)
    const at = echoProbeAnswer(packet, 200 + options)
    assert.deepEqual(
      [at, echoProbeSize(packet, at), echoProbeSequence(packet, at)],
      [28 + options, 1472, 0x89abcdef],
    )
  }
  assert.equal(echoProbeAnswer(answer(0, ECHO_PROBE_LENGTH), ECHO_PROBE_LENGTH), 28)
})

test('what is none is not taken for one', () => {
  assert.equal(echoProbeAnswer(request(), 200), 0)
  assert.equal(echoProbeAnswer(answer(), ECHO_PROBE_LENGTH - 1), 0)
  assert.equal(echoProbeAnswer(answer(4), ECHO_PROBE_LENGTH + 3), 0)
  // Of another protocol, or a fragment.
  for (const [at, value] of [
    [9, 17],
    [6, 0x20],
    [7, 1],
  ]) {
    const packet = answer()
    packet.bytes[at] = value
    writeHeaderChecksum(packet, 0)
    assert.equal(echoProbeAnswer(packet, 200), 0)
  }
  // With a number that is not ours.
  for (let at = 28; at < 44; at++) {
    const packet = answer()
    packet.bytes[at] ^= 1
    assert.equal(echoProbeAnswer(packet, 200), 0)
  }
})
