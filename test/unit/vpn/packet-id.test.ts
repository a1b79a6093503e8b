import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  EARLY_NEGOTIATION_START,
  WrapPacketIdSender,
  WrapPacketIdWindow,
} from '../../../node/vpn/packet-id.ts'
import { hex } from './published-keys.ts'

// OpenVPN's tests/unit_tests/openvpn/test_packet_id.c, test_packet_id_write_long.
test('the first id is counter 1 and the present second', () => {
  assert.deepEqual(new WrapPacketIdSender(5010).next(), hex('00000001 00001392'))
})

test('the time stays while the counter counts', () => {
  const sender = new WrapPacketIdSender(0x61d3f8e1, EARLY_NEGOTIATION_START + 1)
  assert.deepEqual(sender.next(), hex('0f000001 61d3f8e1'))
  assert.deepEqual(sender.next(), hex('0f000002 61d3f8e1'))
})

// test_packet_id_write_long_wrap: after the last counter only a later time may follow.
test('a used-up counter starts again at a later second', () => {
  const sender = new WrapPacketIdSender(5006, 0xffffffff)
  assert.deepEqual(sender.next(), hex('ffffffff 0000138e'))
  assert.deepEqual(sender.next(), hex('00000001 0000138f'))
})

test('each id passes once, whatever the order within the window', () => {
  const window = new WrapPacketIdWindow()
  for (const counter of [1, 3, 2, 100, 99, 4]) assert.ok(window.accept(counter, 7), `${counter}`)
  for (const counter of [1, 2, 3, 4, 99, 100]) assert.ok(!window.accept(counter, 7), `${counter} again`)
  assert.ok(!window.accept(0, 7), 'zero is no id')
})

test('what lies behind the window is refused', () => {
  const window = new WrapPacketIdWindow()
  assert.ok(window.accept(10_000, 7))
  assert.ok(window.accept(10_000 - 63, 7), 'as far back as stock looks')
  assert.ok(!window.accept(10_000 - 256, 7))
})

test('a later time begins a new series, an earlier one is refused', () => {
  const window = new WrapPacketIdWindow()
  assert.ok(window.accept(5000, 7))
  assert.ok(window.accept(1, 8))
  assert.ok(!window.accept(1, 8))
  assert.ok(!window.accept(5001, 7))
  assert.ok(!window.accept(0, 9), 'zero begins no series')
  assert.ok(window.accept(2, 8))
  assert.ok(window.accept(0xffffffff, 0xffffffff))
})
