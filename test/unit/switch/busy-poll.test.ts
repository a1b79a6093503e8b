// For whose answers the switch stays awake, for how long, and at what cost at most.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { BusyPoll, KERNEL, NOBODY, SHARE, WINDOW } from '../../../node/switch/busy-poll.ts'

/** The highest port is among those whose answers are waited for. */
const [A, B, C] = [1, 3, 2]
const SOON = WINDOW / 2
const LATE = WINDOW * 2

/** A switch in a world whose time passes as told. */
function world({ share = SHARE }: { share?: number } = {}) {
  const time = { now: 1000 }
  const busyPoll = new BusyPoll(time, 3, share)
  let polled = 0
  /** A packet after so many milliseconds, waited for awake if it was to be; true when the next one is. */
  const packet = (awake: boolean, after: number, from: number, to: number): boolean => {
    const at = time.now + after
    if (awake) {
      const since = time.now
      busyPoll.begin()
      do time.now = Math.min(at, time.now + 0.01)
      while (busyPoll.goesOn() && time.now < at)
      busyPoll.end()
      polled += time.now - since
    }
    time.now = at
    return busyPoll.after(from, to)
  }
  return { time, busyPoll, packet, polled: () => polled }
}

/** Requests of A to B, each answered after `delay` and followed by the next after `gap`: of how many the answer was waited for. */
function requests(count: number, delay: number, gap: number, options = {}) {
  const { packet, polled, time } = world(options)
  let [answers, others] = [0, 0]
  let awake = false
  const began = time.now
  for (let i = 0; i < count; i++) {
    awake = packet(awake, gap, A, B)
    if (awake) answers++
    awake = packet(awake, delay, B, A)
    if (awake) others++
  }
  return { answers, others, polled: polled(), share: polled() / (time.now - began) }
}

test('answers that come soon are waited for after a few, and who asks is not', () => {
  const { answers, others } = requests(100, SOON, 20)
  assert.ok(answers >= 90 && answers < 100, `${answers}`)
  assert.equal(others, 0)
})

test('answers that come late are never waited for', () => {
  assert.equal(requests(1000, LATE, 20).answers, 0)
})

test('the kernel behind the TUN is somebody whose answers are waited for, and nobody is not', () => {
  const { packet } = world()
  let awake = false
  for (let i = 0; i < 20; i++) {
    awake = packet(awake, 10, A, KERNEL)
    packet(awake, SOON, KERNEL, A)
  }
  assert.ok(awake)
  const other = world()
  for (let i = 0; i < 20; i++) assert.equal(other.packet(false, SOON, NOBODY, NOBODY), false)
})

test('a stream in one direction is not waited for, nor one that has every second packet acknowledged', () => {
  const { packet } = world()
  for (let i = 0; i < 1000; i++) assert.equal(packet(false, SOON, A, B), false)
  for (let i = 0; i < 1000; i++) {
    assert.equal(packet(false, SOON, A, B), false)
    assert.equal(packet(false, SOON, A, B), false)
    packet(false, SOON, B, A)
  }
})

test('what comes unasked behind an answer is not one that is late', () => {
  const { packet } = world()
  let awake = false
  for (let i = 0; i < 50; i++) {
    awake = packet(awake, 10, A, B)
    for (const after of [SOON, LATE, LATE]) packet(false, after, B, A)
  }
  assert.ok(awake)
})

test('packets of others between request and answer change nothing', () => {
  const { packet } = world()
  let awake = false
  for (let i = 0; i < 50; i++) {
    awake = packet(false, 10, A, B)
    packet(awake, SOON / 2, C, NOBODY)
    packet(false, SOON / 2, B, A)
  }
  assert.ok(awake)
})

test('an answer that stays away is waited for no longer than the window, and soon no more', () => {
  const { time, busyPoll, packet } = world()
  let awake = false
  for (let i = 0; i < 20; i++) {
    awake = packet(awake, 10, A, B)
    awake = packet(awake, SOON, B, A)
  }
  assert.equal(packet(awake, 10, A, B), true)
  busyPoll.begin()
  const since = time.now
  do time.now += 0.01
  while (busyPoll.goesOn())
  busyPoll.end()
  assert.ok(Math.abs(time.now - since - WINDOW) < 0.02, `${time.now - since}`)
  let waits = 0
  for (let i = 0; i < 20; i++) if (packet(false, 10, A, B)) waits++
  assert.ok(waits <= 1, `${waits}`)
})

test('of back-to-back requests it takes its share of a processor and not more; none when it has none', () => {
  const { answers, others, share } = requests(20_000, SOON, SOON)
  assert.ok(answers + others > 15_000, `${answers} and ${others}`)
  assert.ok(share > SHARE * 0.9 && share < SHARE * 1.02, `${share}`)
  assert.equal(requests(100, SOON, 20, { share: 0 }).answers, 0)
})

test('what was not taken before is made up for, but no more than 25 ms of it', () => {
  const { polled } = requests(1000, SOON, 20, { share: 0.001 })
  // A thousandth of 20 s was earned meanwhile.
  assert.ok(polled > 25 && polled < 25 + 20.25 + WINDOW, `${polled}`)
})

test('where other programs want the processor it is left to them for a while', () => {
  const { time, busyPoll, packet } = world()
  const settle = (count: number): boolean => {
    let awake = false
    for (let i = 0; i < count; i++) {
      awake = packet(false, 2, A, B)
      packet(false, SOON, B, A)
    }
    return awake
  }
  assert.ok(settle(20))
  // Stopped for long, it is not punished for that.
  for (const gap of [2, 60_000]) {
    busyPoll.begin()
    time.now += gap
    assert.equal(busyPoll.goesOn(), false)
    busyPoll.end()
    assert.equal(settle(10), false)
    assert.ok(settle(50), 'and then tried again')
  }
})

test('it is left to them for a tenth of a second', () => {
  const { time, busyPoll, packet } = world()
  /** How long it takes until the answers of B are waited for, which come at once. */
  const idle = (): number => {
    const since = time.now
    for (let i = 0; i < 1000; i++) {
      packet(false, SOON, B, A)
      if (packet(false, SOON, A, B)) break
    }
    return time.now - since
  }
  idle()
  busyPoll.begin()
  time.now += 1
  assert.equal(busyPoll.goesOn(), false)
  busyPoll.end()
  const left = idle()
  assert.ok(left >= 100 && left <= 100 + 2 * SOON, `${left}`)
})

test('who takes the place of another is not taken for them', () => {
  const { busyPoll, packet } = world()
  let awake = false
  for (let i = 0; i < 20; i++) {
    awake = packet(false, 10, A, B)
    packet(false, SOON, B, A)
  }
  assert.ok(awake)
  packet(false, 10, A, B)
  busyPoll.forget(B)
  // Nor is what they were asked last.
  packet(false, SOON, B, A)
  const fresh = world()
  for (let i = 0; i < 20; i++) {
    assert.equal(packet(false, 10, A, B), fresh.packet(false, 10, A, B))
    packet(false, SOON, B, A)
    fresh.packet(false, SOON, B, A)
  }
})
