import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { MAX_ACKS, OPCODE } from '../../../node/vpn/packet.ts'
import { RECEIVE_WINDOW, ReliableReceiver, ReliableSender, SEND_WINDOW } from '../../../node/vpn/reliable.ts'

interface Packet {
  acks: number[]
  messageId?: number
  payload: Uint8Array
}

/** One end: what it wants to send, and what came of the other's. */
class End {
  readonly sender = new ReliableSender()
  readonly receiver = new ReliableReceiver()
  readonly received: string[] = []
  readonly wanted: string[]
  #pushed = 0

  constructor(wanted: string[]) {
    this.wanted = wanted
  }

  receive(packet: Packet): void {
    for (const ack of packet.acks) this.sender.acknowledge(ack)
    if (packet.messageId === undefined) return
    for (const payload of this.receiver.receive(packet.messageId, packet.payload)) {
      this.received.push(Buffer.from(payload).toString())
    }
  }

  send(now: number): Packet[] {
    while (this.#pushed < this.wanted.length) {
      if (!this.sender.push(OPCODE.controlV1, Buffer.from(this.wanted[this.#pushed]))) break
      this.#pushed++
    }
    const packets: Packet[] = this.sender
      .take(now)
      .map(({ messageId, payload }) => ({ acks: this.receiver.takeAcks(4), messageId, payload }))
    while (this.receiver.owesAcks)
      packets.push({ acks: this.receiver.takeAcks(MAX_ACKS), payload: new Uint8Array(0) })
    return packets
  }

  get done(): boolean {
    return this.#pushed === this.wanted.length && this.sender.idle
  }
}

/** What the network does to one packet: loses it, or delivers copies after so many ms each. */
type Fate = number[]

const fate: fc.Arbitrary<Fate> = fc.oneof(
  { weight: 5, arbitrary: fc.tuple(fc.integer({ min: 1, max: 80 })) },
  { weight: 3, arbitrary: fc.constant<Fate>([]) },
  { weight: 1, arbitrary: fc.array(fc.integer({ min: 1, max: 9000 }), { minLength: 1, maxLength: 3 }) },
)
const messages = fc
  .array(fc.nat(1200), { maxLength: 90 })
  .map(sizes => sizes.map((size, i) => `${i}:${'x'.repeat(size)}`))

/** Time until everything was delivered and acknowledged, in virtual ms. */
function converse(ends: [End, End], fates: Fate[]): number {
  const flying: { at: number; to: End; packet: Packet }[] = []
  let sent = 0
  let now = 0
  while (!(ends[0].done && ends[1].done)) {
    for (const [from, to] of [ends, [ends[1], ends[0]]] as const) {
      for (const packet of from.send(now)) {
        assert.ok(packet.acks.length <= (packet.messageId === undefined ? 8 : 4))
        // The network is bad for as long as the fates last, and then good: only then must everything arrive.
        for (const delay of sent < fates.length ? fates[sent] : [10]) {
          flying.push({ at: now + delay, to, packet: structuredClone(packet) })
        }
        sent++
      }
    }
    const next = Math.min(...flying.map(packet => packet.at), ...ends.map(end => end.sender.deadline(now)))
    if (ends[0].done && ends[1].done) break
    assert.ok(Number.isFinite(next), 'nothing flies and nothing is due, yet not all was delivered')
    assert.ok(next >= now)
    now = next
    for (let i = flying.length - 1; i >= 0; i--) {
      if (flying[i].at > now) continue
      const [{ to, packet }] = flying.splice(i, 1)
      to.receive(packet)
    }
    assert.ok(sent < 50_000, 'packets without end')
  }
  return now
}

test('over a network that loses, reorders and repeats, everything arrives in order and once', () => {
  fc.assert(
    fc.property(messages, messages, fc.array(fate, { maxLength: 250, size: 'max' }), (forth, back, fates) => {
      const ends: [End, End] = [new End(forth), new End(back)]
      converse(ends, fates)
      assert.deepEqual(ends[1].received, forth)
      assert.deepEqual(ends[0].received, back)
    }),
    { numRuns: 150 },
  )
})

test('a single loss costs one retransmission time at most', () => {
  fc.assert(
    fc.property(fc.nat(30), lost => {
      const fates: Fate[] = Array.from({ length: lost + 1 }, (_, i) => (i === lost ? [] : [10]))
      const ends: [End, End] = [new End(['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h']), new End(['1', '2', '3'])]
      const time = converse(ends, fates)
      assert.ok(time <= 2500, `${time} ms`)
    }),
  )
})

test('whatever acknowledgements come, no more is in flight than a receiver takes', () => {
  const operation = fc.oneof(
    fc.record({ acknowledge: fc.nat(60) }),
    fc.record({ advance: fc.integer({ min: 0, max: 9000 }) }),
    fc.record({ push: fc.nat(50) }),
  )
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 200, size: 'max' }), operations => {
      const sender = new ReliableSender()
      const unacknowledged = new Set<number>()
      let now = 0
      let next = 0
      for (const step of operations) {
        if ('push' in step) sender.push(OPCODE.controlV1, new Uint8Array(step.push))
        if ('advance' in step) now += step.advance
        if ('acknowledge' in step) {
          sender.acknowledge(step.acknowledge)
          unacknowledged.delete(step.acknowledge)
        }
        for (const { messageId } of sender.take(now)) {
          if (messageId >= next) assert.equal(messageId, next++, 'ids have no gaps')
          else assert.ok(unacknowledged.has(messageId), 'what was acknowledged is not sent again')
          unacknowledged.add(messageId)
        }
        assert.ok(unacknowledged.size <= SEND_WINDOW)
        if (unacknowledged.size > 0) assert.ok(next - Math.min(...unacknowledged) <= SEND_WINDOW)
      }
    }),
  )
})

test('a receiver takes any ids in any order, each payload once and in order', () => {
  fc.assert(
    fc.property(
      fc.array(fc.oneof(fc.nat(40), fc.nat(40), fc.nat(0xffffffff)), { maxLength: 400, size: 'max' }),
      received => {
        const receiver = new ReliableReceiver()
        let expected = 0
        for (const id of received) {
          const ahead = id >= expected + RECEIVE_WINDOW
          for (const payload of receiver.receive(id, Uint8Array.of(id))) assert.equal(payload[0], expected++)
          assert.equal(receiver.owesAcks, !ahead, 'acknowledged unless too far ahead')
          receiver.takeAcks(8)
        }
      },
    ),
  )
})
