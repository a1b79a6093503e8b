import assert from 'node:assert/strict'
import { test } from 'node:test'
import { OPCODE } from '../../../node/vpn/packet.ts'
import {
  MAX_QUEUED_BYTES,
  RECEIVE_WINDOW,
  RecentAcks,
  ReliableReceiver,
  ReliableSender,
  SEND_WINDOW,
} from '../../../node/vpn/reliable.ts'
import { heapUsed } from '../../fuzz/mutate.ts'

const ids = (messages: { messageId: number }[]): number[] => messages.map(message => message.messageId)

function senderOf(count: number, size = 10): ReliableSender {
  const sender = new ReliableSender()
  for (let i = 0; i < count; i++) assert.ok(sender.push(OPCODE.controlV1, new Uint8Array(size).fill(i)))
  return sender
}

// OpenVPN's tests/unit_tests/openvpn/test_packet_id.c, test_copy_acks_to_lru.
test('recent acknowledgements stand in the published order', () => {
  const recent = new RecentAcks()
  recent.remember([2, 1, 3, 2])
  assert.deepEqual(recent.ids, [2, 1, 3])
  recent.remember([2, 1, 3, 2])
  assert.deepEqual(recent.ids, [2, 1, 3])
  recent.remember([2, 1])
  assert.deepEqual(recent.ids, [2, 1, 3])
  recent.remember([])
  assert.deepEqual(recent.ids, [2, 1, 3])

  const reordered = new RecentAcks()
  reordered.remember([2, 1, 3])
  reordered.remember([3, 2])
  assert.deepEqual(reordered.ids, [3, 2, 1])

  recent.remember([5, 6, 7, 8, 9, 10, 11])
  assert.deepEqual(recent.ids, [5, 6, 7, 8, 9, 10, 11, 2])
})

test('six messages are in flight, and the next goes when the oldest is acknowledged', () => {
  const sender = senderOf(20)
  assert.deepEqual(ids(sender.take(0)), [0, 1, 2, 3, 4, 5])
  assert.deepEqual(ids(sender.take(0)), [])
  // A peer with a window of 8 drops what is 8 ahead of its gap, so later acknowledgements open nothing.
  for (const id of [1, 2]) sender.acknowledge(id)
  assert.deepEqual(ids(sender.take(0)), [])
  sender.acknowledge(0)
  assert.deepEqual(ids(sender.take(0)), [6, 7, 8])
})

test('what is forgotten is not sent again, and makes room', () => {
  const sender = senderOf(10, 6000)
  sender.take(0)
  sender.forget()
  assert.ok(sender.idle)
  assert.deepEqual(sender.take(60_000), [])
  assert.equal(sender.deadline(60_000), Number.POSITIVE_INFINITY)
  for (let i = 0; i < 10; i++) assert.ok(sender.push(OPCODE.controlV1, new Uint8Array(6000)))
  assert.deepEqual(ids(sender.take(60_000)), [6, 7, 8, 9, 10, 11])
})

test('what is not acknowledged goes again after 2, 4 and then every 4 seconds', () => {
  const sender = senderOf(1)
  const sent: number[] = []
  for (let now = 0; now <= 20_000; now += 500) {
    if (sender.take(now).length > 0) sent.push(now)
    assert.ok(sender.deadline(now) > now, 'a deadline lies ahead once all is done')
  }
  assert.deepEqual(sent, [0, 2000, 6000, 10_000, 14_000, 18_000])
  assert.equal(sender.deadline(20_000), 22_000)
})

test('the last words of who will soon be gone go again after 150 and then 300 ms, and what was sent before as ever', () => {
  const sender = new ReliableSender()
  sender.push(4, Uint8Array.of(1))
  assert.equal(sender.take(0).length, 1)
  sender.hurry()
  sender.push(4, Uint8Array.of(2))
  assert.equal(sender.take(0).length, 1)
  const sent = [149, 150, 449, 450].map(now => sender.take(now).map(({ messageId }) => messageId))
  assert.deepEqual(sent, [[], [1], [], [1]])
  assert.equal(sender.deadline(450), 1050)
})

test('the deadline is when there is something to do', () => {
  const sender = new ReliableSender()
  assert.equal(sender.deadline(5), Number.POSITIVE_INFINITY)
  sender.push(OPCODE.controlV1, new Uint8Array(1))
  assert.equal(sender.deadline(5), 5)
  sender.take(5)
  assert.equal(sender.deadline(5), 2005)
  assert.equal(sender.idle, false)
  sender.acknowledge(0)
  assert.equal(sender.deadline(5), Number.POSITIVE_INFINITY)
  assert.equal(sender.idle, true)
})

test('a message goes again at once when three later ones were acknowledged, once for each three', () => {
  const sender = senderOf(6)
  sender.take(0)
  sender.acknowledge(1)
  sender.acknowledge(2)
  assert.deepEqual(ids(sender.take(10)), [])
  sender.acknowledge(3)
  assert.equal(sender.deadline(10), 10)
  assert.deepEqual(ids(sender.take(10)), [0])
  assert.deepEqual(ids(sender.take(10)), [])
  sender.acknowledge(4)
  sender.acknowledge(5)
  assert.deepEqual(ids(sender.take(20)), [])
  assert.deepEqual(ids(sender.take(2010)), [0], 'with the interval it had')
})

test('unknown and repeated acknowledgements change nothing', () => {
  const sender = senderOf(2)
  sender.take(0)
  for (const id of [7, 0xffffffff, 1, 1, 1, 1]) sender.acknowledge(id)
  assert.deepEqual(ids(sender.take(10)), [])
  assert.deepEqual(ids(sender.take(2000)), [0])
})

test('the queue is bounded by bytes and by messages, and says when it is full', () => {
  const sender = new ReliableSender()
  let accepted = 0
  while (sender.push(OPCODE.controlV1, new Uint8Array(1000))) accepted++
  assert.equal(accepted, Math.floor(MAX_QUEUED_BYTES / 1032))
  assert.ok(sender.queuedBytes <= MAX_QUEUED_BYTES)
  // Room comes with acknowledgement, not with sending.
  sender.take(0)
  assert.equal(sender.push(OPCODE.controlV1, new Uint8Array(1000)), false)
  sender.acknowledge(0)
  assert.equal(sender.queuedBytes, (accepted - 1) * 1032)
  assert.equal(sender.push(OPCODE.controlV1, new Uint8Array(1000)), true)

  const empty = new ReliableSender()
  let messages = 0
  while (messages < 10_000 && empty.push(OPCODE.softResetV1, new Uint8Array(0))) messages++
  assert.equal(messages, MAX_QUEUED_BYTES / 32)
})

const payload = (id: number): Uint8Array => Uint8Array.of(id)

test('messages come out in order, however they come in', () => {
  const receiver = new ReliableReceiver()
  assert.deepEqual(receiver.receive(2, payload(2)), [])
  assert.deepEqual(receiver.receive(1, payload(1)), [])
  assert.deepEqual(receiver.receive(0, payload(0)), [payload(0), payload(1), payload(2)])
  assert.deepEqual(receiver.takeAcks(8), [2, 1, 0])
})

test('what is too far ahead is dropped unacknowledged, so that the peer sends it again', () => {
  const receiver = new ReliableReceiver(1)
  assert.deepEqual(receiver.receive(1 + RECEIVE_WINDOW, payload(0)), [])
  assert.deepEqual(receiver.receive(0xffffffff, payload(0)), [])
  assert.equal(receiver.owesAcks, false)
  assert.deepEqual(receiver.receive(RECEIVE_WINDOW, payload(0)), [])
  assert.deepEqual(receiver.takeAcks(8), [RECEIVE_WINDOW])
})

test('duplicates are delivered once and acknowledged each time', () => {
  const receiver = new ReliableReceiver()
  assert.equal(receiver.receive(0, payload(0)).length, 1)
  receiver.takeAcks(8)
  assert.deepEqual(receiver.receive(0, payload(9)), [])
  assert.equal(receiver.owesAcks, true)
  assert.deepEqual(receiver.takeAcks(8), [0])
  receiver.receive(2, payload(2))
  receiver.receive(2, payload(8))
  assert.deepEqual(receiver.receive(1, payload(1)), [payload(1), payload(2)], 'the first of two wins')
})

test('acknowledgements are owed first, then repeated, never more than fit', () => {
  const receiver = new ReliableReceiver()
  for (let id = 0; id < 6; id++) receiver.receive(id, payload(id))
  assert.deepEqual(receiver.takeAcks(4), [0, 1, 2, 3])
  assert.equal(receiver.owesAcks, true)
  assert.deepEqual(receiver.takeAcks(4), [4, 5, 0, 1])
  assert.equal(receiver.owesAcks, false)
  assert.deepEqual(receiver.takeAcks(8), [4, 5, 0, 1, 2, 3], 'repeated without being owed')
})

test('a flood of old duplicates owes a bounded number of acknowledgements', () => {
  const receiver = new ReliableReceiver()
  for (let id = 0; id < 1000; id++) receiver.receive(id, payload(0))
  for (let id = 0; id < 1000; id++) receiver.receive(id, payload(0))
  let packets = 0
  while (receiver.owesAcks) {
    receiver.takeAcks(1)
    packets++
  }
  assert.equal(packets, 48)
})

test('old duplicates are not kept', () => {
  const receiver = new ReliableReceiver()
  for (let id = 0; id < 1000; id++) receiver.receive(id, payload(0))
  const before = heapUsed()
  for (let id = 0; id < 1000; id++) receiver.receive(id, new Uint8Array(20_000))
  assert.ok(heapUsed() - before < 10_000_000)
  assert.equal(receiver.receive(1000, payload(0)).length, 1)
})

test('the windows fit those of every known peer', () => {
  assert.ok(SEND_WINDOW < 8, 'OpenVPN 2.4, 2.5 and 3 receive 8 ahead')
  assert.equal(RECEIVE_WINDOW, 12, 'OpenVPN 2.6 sends no further ahead')
})
