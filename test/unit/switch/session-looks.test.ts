// When the paths of sessions are looked at, by the kernel's knowledge and by probes, and what becomes of their ports' MTU.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ECHO_PROBE_LENGTH } from '../../../node/switch/echo-probe.ts'
import { Ports } from '../../../node/switch/ports.ts'
import { SessionPaths } from '../../../node/switch/session-paths.ts'
import { PortStats } from '../../../node/switch/shared.ts'
import { PATH_STRIDE, writePath } from '../../../node/switch/socket-address.ts'
import { Arena } from '../../../node/switch/sys/arena.ts'

const OVERHEAD = 52
const TICK = 250
const PORT = 3

/** A session with an MTU of 1420, whose port is the highest of all, on a clock of the test's. */
function world({ mtu = 1420, link = 0, longest = 1600 } = {}) {
  const ports = new Ports(PORT, PortStats.allocate(PORT), 1)
  const plain = new Arena(longest)
  /** Overlay packets that were sent. */
  const sent: Uint8Array[] = []
  const kernel = { mtu: 1500, asked: 0, closed: false }
  const routes = {
    ask(_names: Arena, offset: number, length: number) {
      assert.deepEqual([offset, length], [PORT * PATH_STRIDE, 16])
      kernel.asked++
      return kernel.mtu
    },
    close: () => {
      kernel.closed = true
    },
  }
  let flushes = 0
  const prober = {
    plain,
    overhead: () => OVERHEAD,
    add: (_port: number, length: number) => void sent.push(plain.bytes.slice(0, length)),
    flush: () => void flushes++,
  }
  const sessions = new SessionPaths(ports, prober, 0x0a4d0001, routes)
  const path = new Arena(PATH_STRIDE)
  writePath(path, 0, { socket: 0, remote: '192.0.2.1', port: 1, local: '', ifindex: 0 })
  ports.now = 1000
  const none = new Int32Array(0)
  const rest = { address: 0x0a4d0009, pingSeconds: 0, timeoutSeconds: 0, sources: none, sources6: none }
  ports.openPort(
    { peerId: 5, remotePeerId: 5, slot: PORT, generation: 1, socket: 0, ifindex: 0, mtu, link, ...rest },
    path,
    0,
  )
  ports.sendKey[PORT] = 1
  sessions.open(PORT)
  /** The client's answer; false when it is not taken for one. */
  const answer = (packet: Uint8Array): boolean => {
    const reply = new Arena(packet.length)
    reply.bytes.set(packet)
    reply.bytes[20] = 0
    return sessions.received(PORT, reply, packet.length)
  }
  /** Ticks until a time; a client on a path of `underlay` bytes answers at once. The lengths that it was asked. */
  const live = (until: number, underlay: number): number[] => {
    const asked: number[] = []
    for (; ports.now < until; ports.now += TICK) {
      sessions.tick(PORT, ports.now)
      for (const packet of sent.splice(0)) {
        asked.push(packet.length)
        if (packet.length + OVERHEAD <= underlay) assert.equal(answer(packet), true)
      }
    }
    return asked
  }
  return { ports, sessions, sent, kernel, answer, live, flushes: () => flushes }
}

test('a session is looked at 200 ms after it was opened, and each ten seconds while long packets are sent', () => {
  const { ports, sessions, sent, live } = world()
  sessions.tick(PORT, 1199)
  assert.equal(sent.length, 0)
  sessions.tick(PORT, 1200)
  const addresses = new DataView(sent[0].buffer)
  assert.deepEqual([addresses.getUint32(12), addresses.getUint32(16)], [0x0a4d0001, 0x0a4d0009])
  live(1500, 1500)
  assert.deepEqual(live(60_000, 1500), [], 'nothing long was sent')
  const times: number[] = []
  for (let at = 60_000; at < 85_000; at += TICK) {
    ports.large[PORT] = 1
    if (live(at + TICK, 1500).includes(1420)) times.push(at)
  }
  assert.deepEqual(times, [60_000, 70_000, 80_000])
})

test('the MTU becomes what was found, and segments are tried again; before it is known nothing changes', () => {
  const { ports, live } = world()
  ports.unsegmented[PORT] = 1
  live(2000, 1400)
  assert.deepEqual([ports.mtu[PORT], ports.unsegmented[PORT]], [1420, 1])
  live(4000, 1400)
  assert.deepEqual([ports.mtu[PORT], ports.unsegmented[PORT]], [1400 - OVERHEAD, 0])
  // As long as it is narrow it is looked at, whatever is sent.
  ports.large[PORT] = 0
  ports.unsegmented[PORT] = 1
  live(20_000, 1400)
  assert.equal(ports.unsegmented[PORT], 1, 'nothing has changed')
  live(60_000, 1500)
  assert.deepEqual([ports.mtu[PORT], ports.large[PORT]], [1420, 0])
  assert.deepEqual(live(100_000, 1500), [])
})

test('nobody else is looked after: not links, nor ports without a key, or that were closed', () => {
  const link = world({ link: 1 })
  assert.deepEqual(link.live(5000, 1500), [])
  const keyless = world()
  keyless.ports.sendKey[PORT] = 0
  assert.deepEqual(keyless.live(5000, 1500), [])
  const closed = world()
  closed.live(1500, 0)
  closed.sessions.close(PORT)
  closed.ports.link[PORT] = 1
  closed.sessions.open(PORT)
  assert.deepEqual(closed.live(30_000, 1500), [])
  assert.deepEqual(
    [link, keyless, closed].map(({ kernel }) => kernel.asked > 0),
    [false, false, true],
  )
  assert.equal(closed.ports.mtu[PORT], 1420)
})

test('after a move what was found holds until more is known, and answers to older questions do not count', () => {
  const { ports, sessions, sent, answer, live } = world()
  live(5000, 1400)
  ports.now = 8000
  sessions.moved(PORT)
  assert.equal(ports.mtu[PORT], 1348)
  sessions.tick(PORT, 8199)
  assert.equal(sent.length, 0)
  sessions.tick(PORT, 8200)
  const old = sent.splice(0)
  assert.deepEqual(
    old.map(({ length }) => length),
    [ECHO_PROBE_LENGTH, 1420],
  )
  sessions.moved(PORT)
  for (const packet of old) assert.equal(answer(packet), true)
  assert.equal(ports.mtu[PORT], 1348)
  live(9000, 1500)
  assert.equal(ports.mtu[PORT], 1420)
})

test('a path that was moved to is asked about at once, and what the kernel said of the one before does not count', () => {
  const { ports, sessions, kernel, live } = world()
  kernel.mtu = 1400
  live(3000, 1500)
  assert.equal(ports.mtu[PORT], 1348)
  ports.large[PORT] = 1
  live(3250, 1500)
  kernel.mtu = 0
  sessions.moved(PORT)
  const { asked } = kernel
  live(3500, 1500)
  assert.equal(kernel.asked, asked + 1)
  live(4000, 1500)
  assert.equal(ports.mtu[PORT], 1420)
})

test('of a client that answers nothing the MTU stays', () => {
  const { ports, live } = world()
  const [short, long] = [ECHO_PROBE_LENGTH, 1420]
  assert.deepEqual(live(60_000, 0), [short, long, short, short, short, short])
  assert.deepEqual([ports.mtu[PORT], ports.large[PORT]], [1420, 0])
})

test('what the kernel knows counts at once, and is asked for each second while long packets are sent', () => {
  const { ports, kernel, live } = world()
  live(2000, 1500)
  assert.equal(kernel.asked, 1)
  live(10_000, 1500)
  assert.equal(kernel.asked, 1)
  kernel.mtu = 1400
  ports.large[PORT] = 1
  ports.now = 20_000
  assert.deepEqual(live(20_250, 1500), [ECHO_PROBE_LENGTH, 1348], 'it may be less still')
  assert.equal(ports.mtu[PORT], 1348)
  ports.large[PORT] = 1
  kernel.mtu = 1500
  live(21_000, 1500)
  assert.equal(ports.mtu[PORT], 1348, 'it was not asked again yet')
  const { asked } = kernel
  live(21_250, 1500)
  assert.deepEqual([kernel.asked, ports.mtu[PORT]], [asked + 1, 1348], 'more is to be shown by a probe')
  live(22_000, 1500)
  assert.equal(ports.mtu[PORT], 1420)
  kernel.mtu = 0
  ports.large[PORT] = 1
  live(24_000, 1500)
  assert.equal(ports.mtu[PORT], 1420, 'it does not tell')
})

test('what the kernel was told by whoever it was is not believed below what every path takes', () => {
  const { ports, kernel, live } = world()
  kernel.mtu = 576
  live(1250, 0)
  assert.equal(ports.mtu[PORT], 1280 - OVERHEAD)
})

test('a look at a size that the kernel has other words of ends', () => {
  const { ports, sessions, sent, kernel, live } = world()
  live(1250, 0)
  live(1500, 1300)
  kernel.mtu = 1400
  ports.large[PORT] = 0
  ports.now = 2000
  sessions.tick(PORT, 2000)
  assert.equal(sent.length, 0)
  sessions.tick(PORT, 2200)
  assert.deepEqual(
    sent.map(({ length }) => length),
    [ECHO_PROBE_LENGTH, 1348],
  )
})

test('no probe is longer than what is ever sent', () => {
  assert.deepEqual(world({ longest: 1416 }).live(1500, 1500), [ECHO_PROBE_LENGTH])
  assert.deepEqual(world({ mtu: 1416, longest: 1416 }).live(1500, 1500), [ECHO_PROBE_LENGTH, 1416])
})

test('packets that answer nothing are left to others; sockets are closed, and probes sent, by those who have them', () => {
  const { sessions, sent, kernel, answer, live, flushes } = world()
  live(1250, 0)
  sessions.tick(PORT, 1250)
  const [probe] = sent
  assert.equal(answer(probe), true)
  assert.equal(answer(probe.with(28, probe[28] ^ 1)), false)
  sessions.flush()
  assert.equal(flushes(), 1)
  sessions.stop()
  assert.equal(kernel.closed, true)
})
