// When the loop may let control packets gather.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MessageChannel, receiveMessageOnPort } from 'node:worker_threads'
import { allocateCounters, counterCells } from '../../../node/switch/counters.ts'
import { type Listener, listen } from '../../../node/switch/listener.ts'
import type { PortEvent, Report } from '../../../node/switch/messages.ts'
import { Ports } from '../../../node/switch/ports.ts'
import { Reporter } from '../../../node/switch/reporter.ts'
import { allocateSignals, PortStats, SIGNAL } from '../../../node/switch/shared.ts'
import { PATH_STRIDE, writeName, writePath } from '../../../node/switch/socket-address.ts'
import { Arena } from '../../../node/switch/sys/arena.ts'
import { ReceiveBatch } from '../../../node/switch/sys/receive-batch.ts'
import { SendBatch } from '../../../node/switch/sys/send-batch.ts'
import { closeFile } from '../../../node/switch/sys/socket.ts'

const BYTES = 60

/** Datagrams as a socket gives them. */
function receive(listener: Listener, count: number): ReceiveBatch {
  const name = new Arena(32)
  const sent = new SendBatch(1, 1)
  const batch = new ReceiveBatch(count)
  for (let i = 0; i < count; i++) {
    sent.clear()
    sent.begin(name, 0, writeName(name, 0, listener.host, listener.port, 0), name, 0, 0, 0)
    sent.add(new Arena(BYTES), 0, BYTES)
    assert.equal(sent.send(listener.fd, 0), 1)
  }
  assert.equal(batch.receive(listener.fd), count)
  return batch
}

test('the main thread is behind while it is at earlier packets, and nothing but control packets came since', () => {
  const { port1, port2 } = new MessageChannel()
  const listener = listen({ host: '127.0.0.1', port: 0 }, false)
  try {
    const signals = allocateSignals()
    const ports = new Ports(1, PortStats.allocate(1), 0)
    const reporter = new Reporter(port1, ports, signals, counterCells(allocateCounters()))
    const batch = receive(listener, 2)
    const take = (i: number): void => reporter.control(0, batch, i, batch.dataAt(i), BYTES)

    take(0)
    assert.equal(reporter.isBehind(1), false, 'it has nothing to do yet')
    reporter.post()
    assert.equal(Atomics.load(signals, SIGNAL.inFlightBytes), BYTES)
    assert.equal(reporter.isBehind(0), false, 'nothing came since')
    take(1)
    assert.equal(reporter.isBehind(1), true)
    assert.equal(reporter.isBehind(2), false, 'a packet was switched, too')
    // It is through with them.
    Atomics.store(signals, SIGNAL.inFlightBytes, 0)
    assert.equal(reporter.isBehind(1), false)
  } finally {
    closeFile(listener.fd)
    port1.close()
    port2.close()
  }
})

test('a float is told at once of a port that was still, and of one that is here and there once in each round', () => {
  const { port1, port2 } = new MessageChannel()
  try {
    const ports = new Ports(2, PortStats.allocate(2), 0)
    const reporter = new Reporter(port1, ports, allocateSignals(), counterCells(allocateCounters()))
    const path = new Arena(PATH_STRIDE)
    const none = Int32Array.of()
    const [here, there] = ['192.0.2.1', '192.0.2.2']
    const pathTo = (remote: string): Arena => {
      assert.ok(writePath(path, 0, { socket: 0, remote, port: 1194, local: '', ifindex: 0 }))
      return path
    }
    const open = (slot: number, generation: number): void => {
      const place = { peerId: slot, remotePeerId: slot, link: 0, slot, generation, socket: 0, ifindex: 0 }
      const terms = { address: 0, sources: none, sources6: none, pingSeconds: 0, timeoutSeconds: 0, mtu: 0 }
      ports.openPort({ ...place, ...terms }, pathTo(here), 0)
    }
    const float = (slot: number, remote: string): void => {
      ports.movePort(slot, 0, 0, pathTo(remote), 0)
      reporter.floated(slot)
    }
    const told = (): (string | undefined)[] => {
      reporter.post()
      const report = receiveMessageOnPort(port2)?.message as (Report & { type: 'turn' }) | undefined
      const events: PortEvent[] = report?.events ?? []
      return events.map(event => `${event.kind} ${event.slot} to ${event.path?.remote}`)
    }

    open(1, 1)
    open(2, 2)
    float(1, there)
    assert.deepEqual(told(), [`float 1 to ${there}`])
    for (let round = 0; round < 3; round++) {
      for (let i = 0; i < 1000; i++) float(1, i % 2 === 0 ? there : here)
      assert.deepEqual(told(), [])
      reporter.settle(1)
      reporter.settle(2)
      assert.deepEqual(told(), [`float 1 to ${here}`])
    }
    float(2, there)
    assert.deepEqual(told(), [`float 2 to ${there}`], 'the others are told of as ever')
    reporter.settle(1)
    assert.deepEqual(told(), [])
    float(1, there)
    assert.deepEqual(told(), [`float 1 to ${there}`], 'it was still for a round')
    float(1, here)
    open(1, 3)
    reporter.settle(1)
    assert.deepEqual(told(), [], 'another port has its place')
  } finally {
    port1.close()
    port2.close()
  }
})
