// First packets without end, while the main thread has no time for them.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { eventually, TestSocket } from './peer.ts'
import { startTestSwitch } from './running.ts'

/** Keeps this thread from its events until something holds. */
function blockUntil(what: string, holds: () => boolean, milliseconds = 60_000): void {
  const never = new Int32Array(new SharedArrayBuffer(4))
  for (const end = performance.now() + milliseconds; !holds(); Atomics.wait(never, 0, 0, 10))
    assert.ok(performance.now() < end, `not within ${milliseconds} ms: ${what}`)
}

/** The same until a number has stopped growing for a while; returns it. */
function blockUntilQuiet(number: () => number): number {
  let [last, since] = [number(), performance.now()]
  blockUntil('no more comes', () => {
    const now = number()
    if (now !== last) [last, since] = [now, performance.now()]
    return performance.now() - since > 300
  })
  return last
}

/** Bytes that wait in the kernel for who listens on a port of 127.0.0.1. */
function waitingFor(port: number): number {
  const name = `0100007F:${port.toString(16).toUpperCase().padStart(4, '0')}`
  // The number of a row may fill its column.
  const rows = readFileSync('/proc/net/udp', 'utf8')
    .split('\n')
    .map(line => line.trim().split(/ +/))
  const [, , , , queues] = rows.find(([, local]) => local === name)!
  return Number.parseInt(queues.split(':')[1], 16)
}

test('a flood of first packets costs bounded memory, and leaves room for those who have a session', async t => {
  await using net = await startTestSwitch()
  const stranger = await TestSocket.bind()
  t.after(() => stranger.close())
  const { port } = net.running.addresses[0]
  let resets = 0
  let established = 0
  net.running.onControl = (path, packet) => {
    if (path.port === net.a.socket.port && packet[0] >> 3 === 4) established++
    else resets++
  }
  const flood = Buffer.alloc(1200, 1)
  flood[0] = 7 << 3
  const control = Buffer.alloc(100, 1)
  control[0] = 4 << 3
  // The main thread is busy: it sees nothing of what comes meanwhile.
  const received = () => net.running.counters().rxDatagrams
  const script = `const s = require('node:dgram').createSocket('udp4'); s.bind(0, '127.0.0.1', async () => {
    const flood = Buffer.from('${flood.toString('base64')}', 'base64')
    for (let i = 0; ; i++) { s.send(flood, ${port}, '127.0.0.1'); if (i % 100 === 0) await new Promise(r => setImmediate(r)) }
  })`
  const sender = spawn(process.execPath, ['-e', script], { stdio: 'ignore' })
  try {
    blockUntil('the flood comes through the kernel', () => received() > 5000)
  } finally {
    sender.kill('SIGKILL')
  }
  // Nobody has asked yet how it ended.
  blockUntil('its end', () => / Z /.test(readFileSync(`/proc/${sender.pid}/stat`, 'utf8')))
  blockUntil('all is taken', () => waitingFor(port) === 0)
  const flooded = blockUntilQuiet(received)
  assert.equal(net.running.counters().controlQueueFull, flooded - 4096)
  await net.a.sendRaw(control)
  await eventually(() => established === 1, 'the control packet of the session')
  assert.equal(resets, 4096, 'what was in flight')
  // Once they are dealt with, others have their turn.
  const before = resets
  await stranger.send(flood, port)
  await eventually(() => resets > before, 'a first packet after the flood')
})
