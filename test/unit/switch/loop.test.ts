// The order in which the loop does things, seen with a forwarder that only watches.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { allocateCounters, COUNTER, counterCells } from '../../../node/switch/counters.ts'
import { type Listener, listen } from '../../../node/switch/listener.ts'
import { Loop, type LoopParts } from '../../../node/switch/loop.ts'
import { allocateSignals, SIGNAL } from '../../../node/switch/shared.ts'
import { writeName } from '../../../node/switch/socket-address.ts'
import { Arena } from '../../../node/switch/sys/arena.ts'
import { newWakeup } from '../../../node/switch/sys/poller.ts'
import { SendBatch } from '../../../node/switch/sys/send-batch.ts'
import { closeFile } from '../../../node/switch/sys/socket.ts'

const name = new Arena(32)

/** What a loop is made of beside what a test watches. */
const quiet = {
  tun: undefined,
  outbox: { flush() {}, clear() {} },
  links: { deadline: Number.POSITIVE_INFINITY },
  sessions: { flush() {}, tick() {} },
  moderation: { after: () => 0 },
  busyPoll: { after: () => false },
  commands() {},
  reporter: { post() {}, isBehind: () => false, trouble: (text: string) => assert.fail(text) },
}

/** Sends one datagram, at once. */
function sendTo({ fd }: Listener, { host, port }: Listener): void {
  const batch = new SendBatch(1, 1)
  batch.begin(name, 0, writeName(name, 0, host, port, 0), name, 0, 0, 0)
  batch.add(name, 0, 1)
  assert.equal(batch.send(fd, 0), 1)
}

test('a command that was given before a packet was sent is carried out before that packet is looked at', () => {
  const listeners = [0, 1].map(() => listen({ host: '127.0.0.1', port: 0 }, false))
  const sender = listen({ host: '127.0.0.1', port: 0 }, false)
  const wakeup = newWakeup()
  try {
    const signals = allocateSignals()
    const seen: string[] = []
    const forwarder = {
      datagram(socket: number) {
        if (seen.length === 0) {
          // While the loop is at this packet a peer is told of a new key, and sends with it to the other socket.
          Atomics.store(signals, SIGNAL.wake, 1)
          sendTo(sender, listeners[1 - socket])
          Atomics.store(signals, SIGNAL.stop, 1)
        }
        seen.push('packet')
      },
      flush() {},
      clear() {},
    }
    for (const listener of listeners) sendTo(sender, listener)
    const parts = {
      ...{ ...quiet, listeners, wakeup, signals, forwarder, counters: counterCells(allocateCounters()) },
      ports: { now: 0, wallClock: 0, highest: 0 },
      commands: () => seen.push('command'),
    }
    new Loop(parts as unknown as LoopParts).run()
    // The loop asks for commands once more at its end.
    assert.deepEqual(seen, ['packet', 'command', 'packet', 'packet', 'command'])
  } finally {
    for (const { fd } of [...listeners, sender]) closeFile(fd)
    closeFile(wakeup)
  }
})

test('a packet that is waited for awake is found between two polls, and what does not come ends the wait', () => {
  const listener = listen({ host: '127.0.0.1', port: 0 }, false)
  const wakeup = newWakeup()
  try {
    const signals = allocateSignals()
    const counters = counterCells(allocateCounters())
    const seen: string[] = []
    const ports = { now: 0, wallClock: 0, highest: 0, routedFrom: 0, routedTo: 0 }
    const forwarder = {
      datagram() {
        seen.push('packet')
        counters[COUNTER.rxPackets]++
        ports.routedFrom = 3
        ports.routedTo = 4
      },
      flush() {},
      clear() {},
    }
    let polls = 0
    const busyPoll = {
      after(from: number, to: number) {
        seen.push(`${from} to ${to}`)
        return true
      },
      begin: () => seen.push('begin'),
      goesOn() {
        // The second packet comes while it is polled for; the third does not, and the wait for it is given up.
        if (++polls === 3) sendTo(listener, listener)
        const isLast = seen.filter(each => each === 'packet').length === 2
        if (isLast) Atomics.store(signals, SIGNAL.stop, 1)
        return !isLast
      },
      end: () => seen.push('end'),
    }
    sendTo(listener, listener)
    // A loop that does not poll ends all the same.
    let turns = 0
    const moderation = {
      after() {
        if (++turns === 20) Atomics.store(signals, SIGNAL.stop, 1)
        return 0
      },
    }
    const parts = {
      ...{ ...quiet, listeners: [listener], wakeup, signals, forwarder, ports, counters },
      ...{ busyPoll, moderation },
    }
    new Loop(parts as unknown as LoopParts).run()
    const packet = ['packet', '3 to 4', 'begin', 'end']
    assert.deepEqual(seen, [...packet, ...packet])
    assert.equal(counters[COUNTER.busyPolls], 2)
  } finally {
    closeFile(listener.fd)
    closeFile(wakeup)
  }
})

test('a TUN that is gone wakes the loop no more, and is made anew, if need be at the second attempt', () => {
  // Each stands for a TUN that has something to say all the time, as one that was deleted has.
  const [first, second] = [0, 1].map(() => listen({ host: '127.0.0.1', port: 0 }, false))
  const wakeup = newWakeup()
  try {
    for (const device of [first, second]) sendTo(device, device)
    const signals = allocateSignals()
    const seen: string[] = []
    const tun = {
      fd: first.fd,
      isGone: false,
      problem6: 'no IPv6',
      displaced: () => undefined,
      close: () => seen.push('close'),
      remake() {
        seen.push('remake')
        if (seen.filter(each => each === 'remake').length === 1) throw new Error('not now')
        tun.fd = second.fd
        tun.isGone = false
      },
    }
    const forwarder = {
      fromTun() {
        seen.push(`read ${tun.fd === first.fd ? 'first' : 'second'}`)
        if (tun.fd === first.fd) tun.isGone = true
        // A loop that spins ends all the same.
        if (tun.fd === second.fd || seen.length > 20) Atomics.store(signals, SIGNAL.stop, 1)
        return 0
      },
      flush() {},
      clear() {},
    }
    let now = 0
    const parts = {
      ...{
        ...quiet,
        tun,
        listeners: [],
        wakeup,
        signals,
        forwarder,
        counters: counterCells(allocateCounters()),
      },
      // Each look at the time is half a second after the last.
      ports: {
        highest: 0,
        get now() {
          return now
        },
        set now(_) {
          now += 500
        },
      },
      timerInterval: 1,
      reporter: {
        ...quiet.reporter,
        tunGone: (reason: string) => seen.push(`gone: ${reason}`),
        tunBack: ({ problem6 }: { problem6: string }) => seen.push(`back: ${problem6}`),
      },
    }
    new Loop(parts as unknown as LoopParts).run()
    const expected = ['read first', 'close', 'gone: it was deleted', 'remake', 'gone: not now', 'remake']
    assert.deepEqual(seen, [...expected, 'back: no IPv6', 'read second'])
  } finally {
    for (const { fd } of [first, second]) closeFile(fd)
    closeFile(wakeup)
  }
})
