// The endpoint's control packets on a real socket.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ControlSender } from '../../../node/switch/control-sender.ts'
import { allocateCounters, COUNTER, counterCells } from '../../../node/switch/counters.ts'
import { listen } from '../../../node/switch/listener.ts'
import { closeFile } from '../../../node/switch/sys/socket.ts'
import { TestSocket } from './peer.ts'

test('a local address that is no longer ours costs no packet, and no other packet its address', async t => {
  const listener = listen({ host: '0.0.0.0', port: 0 }, true)
  t.after(() => closeFile(listener.fd))
  const counters = counterCells(allocateCounters())
  const sender = new ControlSender(listener.fd, counters)
  const from: (string | undefined)[] = []
  // The second time, what is gathered has its address again.
  for (const locals of [
    ['127.0.0.5', '192.0.2.77', '192.0.2.78', '127.0.0.6'],
    ['127.0.0.7', '127.0.0.8'],
  ]) {
    const peers = await Promise.all(locals.map(() => TestSocket.bind()))
    t.after(() => {
      for (const peer of peers) peer.close()
    })
    for (const [i, local] of locals.entries()) {
      const path = { socket: 0, remote: '127.0.0.1', port: peers[i].port, local, ifindex: 0 }
      sender.add(path, Uint8Array.of(i, 1, 2, 3))
    }
    sender.flush()
    for (const [i, peer] of peers.entries()) {
      assert.deepEqual([...(await peer.next())], [i, 1, 2, 3])
      from.push(peer.lastFrom?.address)
    }
  }
  assert.deepEqual(from, ['127.0.0.5', '127.0.0.1', '127.0.0.1', '127.0.0.6', '127.0.0.7', '127.0.0.8'])
  assert.equal(counters[COUNTER.controlTx], 6)
  assert.equal(counters[COUNTER.sendFailed], 0)
})
