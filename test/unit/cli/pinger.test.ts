import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { packetBuffer, readEchoAnswer } from '../../../node/cli/echo.ts'
import { readEchoAnswer6 } from '../../../node/cli/echo6.ts'
import { type Ping, Pinger } from '../../../node/cli/pinger.ts'
import { ICMP_ERROR, MAX_ERROR_LENGTH, writeEchoReply, writeError } from '../../../node/switch/icmp.ts'
import { ICMP6_ERROR, MAX_ERROR6_LENGTH, writeEchoReply6, writeError6 } from '../../../node/switch/icmpv6.ts'
import { echoRequest } from '../../../node/vpn/client-echo.ts'
import { answerEcho6, echoRequest6 } from '../../../node/vpn/client-echo6.ts'
import { parseIpv4 } from '../../../state/address.ts'
import { parseAddress6 } from '../../../state/address6.ts'

const from = parseIpv4('10.77.0.5')!
const to = parseIpv4('10.77.0.9')!
const router = parseIpv4('10.77.0.1')!

function replyTo(request: Uint8Array): Uint8Array {
  const reply = packetBuffer(new Uint8Array(request.length))
  assert.equal(writeEchoReply(packetBuffer(request), 0, reply, 0), request.length)
  return reply.bytes
}

function setUp(count: number, interval = 1000) {
  const requests: Uint8Array[] = []
  const pings: Ping[] = []
  const pinger = new Pinger({
    from: '10.77.0.5',
    to: '10.77.0.9',
    count,
    interval,
    identifier: 7,
    send: packet => requests.push(packet),
    answered: ping => pings.push(ping),
  })
  return { pinger, requests, pings }
}

test('a reply is read back with all that `ping` shows', () => {
  fc.assert(
    fc.property(fc.nat(0xffff), fc.nat(0xffff), (identifier, sequence) => {
      const request = echoRequest(from, to, identifier, sequence)
      const answer = { from: '10.77.0.9', identifier, sequence, ttl: 64, size: 64 }
      assert.deepEqual(readEchoAnswer(replyTo(request)), answer)
    }),
  )
})

test('no bytes make the reader throw, and no damaged answer is taken', () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), bytes => void readEchoAnswer(bytes)))
  const reply = replyTo(echoRequest(from, to, 1, 2))
  fc.assert(
    fc.property(fc.nat(reply.length - 1), fc.integer({ min: 1, max: 255 }), (at, flip) => {
      const damaged = reply.slice()
      damaged[at] ^= flip
      assert.equal(readEchoAnswer(damaged), undefined)
    }),
  )
})

test('IPv6: a reply and the errors of routers are read back, and damage is noticed', () => {
  const packetOf = (bytes: Uint8Array) => packetBuffer(bytes)
  const [own, other] = ['fd00::a4d:5', 'fd00::a4d:9']
  const request = echoRequest6(parseAddress6(own)!, parseAddress6(other)!, 7, 3)
  const reply = packetOf(new Uint8Array(request.length))
  assert.equal(writeEchoReply6(packetOf(request), 0, reply, 0), request.length)
  const answer = { from: other, identifier: 7, sequence: 3, ttl: 64, size: 64 }
  assert.deepEqual(readEchoAnswer6(reply.bytes), answer)
  assert.deepEqual(answerEcho6(request, parseAddress6(other)!), reply.bytes)
  assert.equal(answerEcho6(request, parseAddress6(own)!), undefined)
  const error = packetOf(new Uint8Array(MAX_ERROR6_LENGTH))
  const length = writeError6(ICMP6_ERROR.addressUnreachable, reply, 8, packetOf(request), 0, error, 0)
  const told = readEchoAnswer6(error.bytes.subarray(0, length))
  assert.deepEqual(told, { ...answer, size: length - 40, error: 'host unreachable' })
  for (const whole of [reply.bytes, error.bytes.subarray(0, length)]) {
    for (let at = 0; at < whole.length; at++) {
      assert.equal(readEchoAnswer6(whole.subarray(0, at)), undefined)
      const damaged = whole.slice()
      damaged[at] ^= 1
      // The traffic class, the flow label and the hop limit are of no concern; all else is in the checksum.
      if (at > 3 && at !== 7) assert.equal(readEchoAnswer6(damaged), undefined, `byte ${at}`)
    }
  }
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), bytes => void readEchoAnswer6(bytes)))
})

test('IPv6: pings and counts', () => {
  const requests: Uint8Array[] = []
  const [own, other] = ['fd00::a4d:5', 'fd00::a4d:9']
  const pings: Ping[] = []
  const pinger = new Pinger({
    from: own,
    to: other,
    count: 2,
    interval: 10,
    identifier: 7,
    send: packet => requests.push(packet),
    answered: ping => pings.push(ping),
  })
  pinger.poll(0)
  assert.equal(pinger.receive(answerEcho6(requests[0], parseAddress6(other)!)!, 4), true)
  pinger.poll(10)
  // Another's answer to the same number is none.
  const elsewhere = echoRequest6(parseAddress6(own)!, parseAddress6('fd00::a4d:8')!, 7, 1)
  assert.equal(pinger.receive(answerEcho6(elsewhere, parseAddress6('fd00::a4d:8')!)!, 12), false)
  assert.deepEqual(pings[0], { sequence: 0, from: other, ttl: 64, size: 64, rttMs: 4, error: null })
  const { target, sent, received } = pinger.summary()
  assert.deepEqual({ target, sent, received }, { target: other, sent: 2, received: 1 })
})

test('sends at its pace, counts each answer once and knows when it is done', () => {
  const { pinger, requests, pings } = setUp(3)
  assert.equal(pinger.poll(100), 1100)
  assert.equal(pinger.poll(600), 1100)
  assert.equal(requests.length, 1)
  assert.ok(pinger.receive(replyTo(requests[0]), 102))
  assert.ok(!pinger.receive(replyTo(requests[0]), 103), 'a duplicate')
  pinger.poll(1100)
  pinger.poll(2100)
  assert.equal(requests.length, 3)
  assert.ok(!pinger.done(2100))
  assert.ok(pinger.receive(replyTo(requests[2]), 2106))
  assert.ok(!pinger.done(3099))
  assert.ok(pinger.done(3100))
  assert.deepEqual(pinger.summary(), {
    target: '10.77.0.9',
    sent: 3,
    received: 2,
    errors: 0,
    lossPercent: 33.333,
    rttMs: { min: 2, average: 4, max: 6 },
  })
  assert.deepEqual(
    pings.map(({ sequence, from, rttMs, error }) => ({ sequence, from, rttMs, error })),
    [
      { sequence: 0, from: '10.77.0.9', rttMs: 2, error: null },
      { sequence: 2, from: '10.77.0.9', rttMs: 6, error: null },
    ],
  )
})

test('is done at once when all is answered', () => {
  const { pinger, requests } = setUp(1)
  pinger.poll(0)
  assert.ok(!pinger.done(1))
  pinger.receive(replyTo(requests[0]), 1)
  assert.ok(pinger.done(1))
})

test('after a pause it does not send what it missed in one burst', () => {
  const { pinger, requests } = setUp(100, 10)
  pinger.poll(0)
  pinger.poll(5000)
  pinger.poll(5000)
  assert.ok(requests.length <= 3)
})

test('replies of others and to others are not ours', () => {
  const { pinger } = setUp(1)
  pinger.poll(0)
  const other = echoRequest(from, to, 8, 0)
  assert.ok(!pinger.receive(replyTo(other), 1))
  const elsewhere = echoRequest(from, router, 7, 0)
  assert.ok(!pinger.receive(replyTo(elsewhere), 1))
  assert.equal(pinger.summary().received, 0)
})

test('an error of a router about our request is told and is no reply', () => {
  const { pinger, requests, pings } = setUp(1)
  pinger.poll(0)
  const target = packetBuffer(new Uint8Array(MAX_ERROR_LENGTH))
  const origin = { address: router, broadcast: parseIpv4('10.77.255.255')! }
  const length = writeError(ICMP_ERROR.hostUnreachable, origin, packetBuffer(requests[0]), 0, target, 0)
  assert.ok(length > 0)
  assert.ok(pinger.receive(target.bytes.subarray(0, length), 3))
  assert.equal(pings[0].error, 'host unreachable')
  assert.equal(pings[0].from, '10.77.0.1')
  assert.ok(pinger.done(3))
  assert.deepEqual(
    { ...pinger.summary(), rttMs: null },
    {
      target: '10.77.0.9',
      sent: 1,
      received: 0,
      errors: 1,
      lossPercent: 100,
      rttMs: null,
    },
  )
})
