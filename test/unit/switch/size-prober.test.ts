// Probes of the size of a path on real sockets: as long as asked, sealed, and each for itself.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { allocateCounters, COUNTER, counterCells } from '../../../node/switch/counters.ts'
import { Keys } from '../../../node/switch/keys.ts'
import { listen } from '../../../node/switch/listener.ts'
import { Ports } from '../../../node/switch/ports.ts'
import { PortStats } from '../../../node/switch/shared.ts'
import { SizeProber } from '../../../node/switch/size-prober.ts'
import { PATH_STRIDE, writePath } from '../../../node/switch/socket-address.ts'
import { Arena } from '../../../node/switch/sys/arena.ts'
import { closeFile, getOption, OPTION } from '../../../node/switch/sys/socket.ts'
import { DIRECTION } from '../../../node/switch/tap-ring.ts'
import { Taps } from '../../../node/switch/taps.ts'
import { eventually, newKeys, openData, TestSocket } from './peer.ts'

/** Two ports, each to a socket of its own by a listener of its own. */
async function bench(packetBytes: number) {
  const listeners = [0, 1].map(() => listen({ host: '127.0.0.1', port: 0 }, true))
  const counters = counterCells(allocateCounters())
  const ports = new Ports(3, PortStats.allocate(3), 1)
  const keys = new Keys(4)
  const taps = new Taps(ports)
  const tapped: unknown[][] = []
  taps.passes = (port, direction, packet, at, length) =>
    void tapped.push([port, direction, packet === prober.plain, at, length])
  const prober = new SizeProber(ports, keys, listeners, counters, taps, packetBytes)
  const path = new Arena(PATH_STRIDE)
  const none = new Int32Array(0)
  const rest = { ifindex: 0, sources: none, sources6: none, pingSeconds: 0, timeoutSeconds: 0, mtu: 1500 }
  const targets: TestSocket[] = []
  const ends = [1, 2, 3].map(() => newKeys())
  for (const slot of [1, 2, 3]) {
    const socket = (slot - 1) % 2
    const target = await TestSocket.bind(slot === 3 ? '::1' : '127.0.0.1')
    targets.push(target)
    writePath(path, 0, { socket, remote: target.host, port: target.port, local: '', ifindex: 0 })
    const init = { peerId: slot, remotePeerId: slot, link: 0, slot, generation: 1, socket, address: slot }
    ports.openPort({ ...init, ...rest }, path, 0)
    const { send, receive } = ends[slot - 1]
    ports.sendKey[slot] = keys.add(slot, 0, 'AES-256-GCM', 'aead', send, receive)
  }
  /** What came to a port: its plain bytes. */
  const came = (port: number): number[] =>
    targets[port - 1].received.map(packet => {
      const { plain } = openData(ends[port - 1], packet)!
      assert.ok(plain.every(byte => byte === plain[0]))
      assert.equal(plain[0], plain.length & 0xff)
      return plain.length
    })
  const add = (port: number, length: number): void => {
    prober.plain.bytes.fill(length & 0xff)
    prober.add(port, length)
  }
  return {
    ...{ prober, ports, counters, taps, tapped, targets, listeners, came, add },
    [Symbol.asyncDispose]: async () => {
      for (const target of targets) target.close()
      for (const { fd } of listeners) closeFile(fd)
      keys.close()
    },
  }
}

const sizes = (from: number, count: number): number[] => Array.from({ length: count }, (_, i) => from + i)

test('probes go in order to the port that they are for by its socket, however many there are', async () => {
  await using t = await bench(1500)
  for (const size of sizes(100, 70)) t.add(1, size)
  for (const size of sizes(300, 3)) t.add(2, size)
  t.add(1, 400)
  const calls = t.counters[COUNTER.sendCalls]
  t.prober.flush()
  await eventually(() => t.came(1).length === 71 && t.came(2).length === 3, 'all probes')
  assert.deepEqual(t.came(1), [...sizes(100, 70), 400])
  assert.deepEqual(t.came(2), sizes(300, 3))
  for (const [i, { port }] of t.listeners.entries()) assert.equal(t.targets[i].lastFrom?.port, port)
  assert.deepEqual([calls, t.counters[COUNTER.sendCalls]], [3, 4])
  assert.deepEqual([t.counters[COUNTER.probeTx], t.counters[COUNTER.txDatagrams]], [74, 74])
  assert.equal(t.ports.stats.read(2, 1).txBytes, 300 + 301 + 302)
  // Nothing is left to be sent again.
  t.prober.flush()
  assert.equal(t.counters[COUNTER.sendCalls], 4)
})

test('what is sent after a probe may be fragmented as ever', async () => {
  await using t = await bench(1500)
  t.add(1, 500)
  t.prober.flush()
  const [{ fd, mtuDiscovery }] = t.listeners
  assert.equal(getOption(fd, OPTION.ipv4MtuDiscover), mtuDiscovery)
})

test('one that cannot be sent keeps no other from being sent', async () => {
  await using t = await bench(66_000)
  t.add(1, 65_600)
  t.add(1, 500)
  t.prober.flush()
  await eventually(() => t.came(1).length === 1, 'the other')
  assert.deepEqual(t.came(1), [500])
  assert.equal(t.counters[COUNTER.txDatagrams], 1)
})

test('what is longer than any packet, or for a port without a key, is no probe', async () => {
  await using t = await bench(1472)
  t.add(1, 1473)
  t.ports.sendKey[2] = 0
  t.add(2, 100)
  t.prober.flush()
  assert.deepEqual([t.counters[COUNTER.probeTx], t.counters[COUNTER.sendCalls]], [0, 0])
})

test('the longest packet is a probe', async () => {
  await using t = await bench(1472 + 24)
  t.add(1, 1472)
  t.prober.flush()
  await eventually(() => t.came(1).length === 1, 'the probe')
})

test('a probe is longer on its way by the headers of its family and what sealing adds', async () => {
  await using t = await bench(1500)
  assert.deepEqual([t.prober.overhead(1), t.prober.overhead(3)], [20 + 8 + 24, 40 + 8 + 24])
})

test('captures see probes as what they carry', async () => {
  await using t = await bench(1500)
  t.add(1, 100)
  t.taps.open[0] = 1
  t.add(2, 200)
  assert.deepEqual(t.tapped, [[2, DIRECTION.out, true, 0, 200]])
})
