// Sending by batches on real sockets: order, segmented sends, and what happens where the kernel refuses them.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { allocateCounters, COUNTER, counterCells } from '../../../node/switch/counters.ts'
import { type Listener, listen } from '../../../node/switch/listener.ts'
import { Outbox } from '../../../node/switch/outbox.ts'
import { Ports } from '../../../node/switch/ports.ts'
import { PortStats } from '../../../node/switch/shared.ts'
import { PATH_STRIDE, writePath } from '../../../node/switch/socket-address.ts'
import { Arena } from '../../../node/switch/sys/arena.ts'
import { closeFile, OPTION, setOption } from '../../../node/switch/sys/socket.ts'
import { eventually, TestSocket } from './peer.ts'

interface Bench extends AsyncDisposable {
  outbox: Outbox
  ports: Ports
  listener: Listener
  counters: Float64Array
  targets: TestSocket[]
  /** Packet to port 1, 2… whose first bytes say which it is. */
  put(port: number, number: number, length: number): void
}

async function bench(targets: number, slots = 256): Promise<Bench> {
  const listener = listen({ host: '127.0.0.1', port: 0 }, true)
  const counters = counterCells(allocateCounters())
  const ports = new Ports(16, PortStats.allocate(16), 1)
  const outbox = new Outbox(ports, [listener], counters, 1600, slots)
  const path = new Arena(PATH_STRIDE)
  const sockets: TestSocket[] = []
  for (let slot = 1; slot <= targets; slot++) {
    const socket = await TestSocket.bind()
    sockets.push(socket)
    writePath(path, 0, { socket: 0, remote: '127.0.0.1', port: socket.port, local: '127.0.0.1', ifindex: 0 })
    const times = { pingSeconds: 0, timeoutSeconds: 0 }
    const rest = {
      generation: 1,
      socket: 0,
      ifindex: 0,
      address: slot,
      sources: new Int32Array(0),
      sources6: new Int32Array(0),
      mtu: 1500,
    }
    ports.openPort({ peerId: slot, remotePeerId: slot, link: 0, slot, ...rest, ...times }, path, 0)
  }
  return {
    outbox,
    ports,
    listener,
    counters,
    targets: sockets,
    put(port, number, length) {
      const at = outbox.reserve()
      outbox.arena.bytes.fill(number & 0xff, at, at + length)
      outbox.arena.view.setUint32(at, number)
      outbox.commit(port, length)
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.close()
      closeFile(listener.fd)
    },
  }
}

/** What arrived: number and length of each packet, in order. Every byte is checked. */
function arrived(socket: TestSocket): [number, number][] {
  return socket.received.map(packet => {
    const number = packet.readUInt32BE(0)
    assert.ok(
      packet.subarray(4).every(byte => byte === (number & 0xff)),
      `packet ${number}`,
    )
    return [number, packet.length]
  })
}

test('equal packets to two ports leave by one system call', async () => {
  await using t = await bench(2)
  for (let i = 0; i < 40; i++) t.put(1 + (i & 1), i, 1000)
  t.outbox.flush()
  await eventually(() => t.targets.every(socket => socket.received.length === 20), 'all packets')
  assert.deepEqual(
    arrived(t.targets[0]),
    Array.from({ length: 20 }, (_, i) => [2 * i, 1000]),
  )
  assert.deepEqual(
    arrived(t.targets[1]),
    Array.from({ length: 20 }, (_, i) => [2 * i + 1, 1000]),
  )
  assert.equal(t.counters[COUNTER.sendCalls], 1)
  assert.equal(t.counters[COUNTER.txDatagrams], 40)
})

test('any mix of lengths arrives whole and in order, however it is cut into runs', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.integer({ min: 1, max: 3 }), fc.constantFrom(4, 60, 61, 1400, 1500)), {
        maxLength: 150,
      }),
      async packets => {
        await using t = await bench(3, 64)
        const expected: [number, number][][] = [[], [], []]
        for (const [number, [port, length]] of packets.entries()) {
          t.put(port, number, length)
          expected[port - 1].push([number, length])
        }
        t.outbox.flush()
        for (const [i, socket] of t.targets.entries()) {
          await eventually(
            () => socket.received.length === expected[i].length,
            `${expected[i].length} packets`,
          )
          assert.deepEqual(arrived(socket), expected[i])
        }
      },
    ),
    { numRuns: 30 },
  )
})

test('where the kernel refuses to segment, everything is sent one by one from then on', async () => {
  await using t = await bench(1)
  // A socket without checksums cannot be segmented for (udp_send_skb).
  assert.ok(setOption(t.listener.fd, OPTION.noChecksum, 1))
  for (let round = 0; round < 2; round++) {
    for (let i = 0; i < 70; i++) t.put(1, round * 70 + i, 500)
    t.outbox.flush()
  }
  await eventually(() => t.targets[0].received.length === 140, 'all packets')
  assert.deepEqual(
    arrived(t.targets[0]),
    Array.from({ length: 140 }, (_, i) => [i, 500]),
  )
  assert.ok(t.ports.unsegmented[1] === 1 || !t.listener.segmenting)
  assert.equal(t.counters[COUNTER.txDatagrams], 140)
  assert.equal(t.counters[COUNTER.sendFailed], 0)
})

test('a local address that is no longer ours is forgotten, and the packet sent from another', async () => {
  await using t = await bench(1)
  const path = new Arena(PATH_STRIDE)
  const { port } = t.targets[0]
  writePath(path, 0, { socket: 0, remote: '127.0.0.1', port, local: '192.0.2.77', ifindex: 0 })
  t.ports.movePort(1, 0, 0, path, 0)
  for (let i = 0; i < 3; i++) {
    t.put(1, i, 300 + i)
    t.outbox.flush()
  }
  await eventually(() => t.targets[0].received.length === 3, 'all packets')
  assert.equal(t.counters[COUNTER.sendFailed], 0)
})

test('a port nobody listens on any more, and a socket that is gone, cost packets and nothing else', async () => {
  await using t = await bench(2)
  t.targets[0].close()
  for (let i = 0; i < 5; i++) {
    t.put(1, i, 100)
    t.put(2, i, 100)
    t.outbox.flush()
  }
  await eventually(() => t.targets[1].received.length === 5, 'packets to the other')
  const { fd } = t.listener
  t.listener.fd = 100_000
  for (let i = 0; i < 300; i++) t.put(1 + (i & 1), i, 100 + i)
  t.outbox.flush()
  t.listener.fd = fd
  assert.equal(t.counters[COUNTER.sendFailed], 300)
})
