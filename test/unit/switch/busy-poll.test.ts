// When the next packet is looked for before sleeping, and when not.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { BUSY_POLL_MICROSECONDS, BusyPoll } from '../../../node/switch/busy-poll.ts'

const ANSWER_MS = 0.1

class Polled {
  readonly #time = { now: 0 }
  readonly #poll = new BusyPoll(this.#time)

  get expected(): boolean {
    return this.#poll.expected
  }

  after(now: number, some: boolean, spent: number): void {
    this.#time.now = now
    this.#poll.after(some, spent)
  }
}

/** Requests every so many milliseconds, each answered soon: what is expected after each, at the end. */
function requests(poll: Polled, count: number, everyMs: number): { request: boolean; answer: boolean } {
  let [request, answer] = [false, false]
  for (let i = 1, looked = 0; i <= count; i++) {
    const now = i * everyMs
    poll.after(now, true, looked)
    request = poll.expected
    poll.after(now + ANSWER_MS, true, request ? ANSWER_MS * 1000 : 0)
    answer = poll.expected
    looked = answer ? BUSY_POLL_MICROSECONDS : 0
  }
  return { request, answer }
}

test('an answer is looked for, and the next request is not', () => {
  assert.deepEqual(requests(new Polled(), 100, 5), { request: true, answer: false })
  assert.deepEqual(requests(new Polled(), 100, 1000), { request: true, answer: false })
})

test('packets that come alone are not looked for', () => {
  const poll = new Polled()
  for (let i = 1; i <= 200; i++) {
    poll.after(i * 5, true, 0)
    assert.equal(poll.expected, false)
  }
})

test('where much passes, the processor is left to others', () => {
  const poll = new Polled()
  for (let i = 1; i <= 2000; i++) poll.after(i * 0.2, true, 0)
  assert.equal(poll.expected, false)
  assert.deepEqual(requests(new Polled(), 2000, 0.5), { request: false, answer: false })
})

test('turns without packets end the looking', () => {
  const poll = new Polled()
  requests(poll, 100, 5)
  poll.after(505, true, 0)
  assert.equal(poll.expected, true)
  poll.after(505.3, false, BUSY_POLL_MICROSECONDS)
  assert.equal(poll.expected, false)
})

test('no more than its share of the time goes into it, however wrong it is', () => {
  const poll = new Polled()
  const seconds = 20
  let spent = 0
  // An answer at its most expensive, and requests that stop being answered as soon as they are expected to be.
  for (let ms = 2; ms < seconds * 1000; ms += 2) {
    poll.after(ms, true, 0)
    let looked = 0
    if (poll.expected) looked = BUSY_POLL_MICROSECONDS
    spent += looked
    poll.after(ms + 0.2, true, looked)
    if (poll.expected) spent += BUSY_POLL_MICROSECONDS
    poll.after(ms + 0.4, false, poll.expected ? BUSY_POLL_MICROSECONDS : 0)
  }
  assert.ok(spent > 0)
  assert.ok(spent / 1e6 <= seconds / 16 + 0.01, `${spent / 1e6} s of ${seconds}`)
})
