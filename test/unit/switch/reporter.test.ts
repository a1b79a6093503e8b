// When the loop may let control packets gather.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MessageChannel } from 'node:worker_threads'
import { allocateCounters, counterCells } from '../../../node/switch/counters.ts'
import { type Listener, listen } from '../../../node/switch/listener.ts'
import { Ports } from '../../../node/switch/ports.ts'
import { Reporter } from '../../../node/switch/reporter.ts'
import { allocateSignals, PortStats, SIGNAL } from '../../../node/switch/shared.ts'
import { writeName } from '../../../node/switch/socket-address.ts'
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
