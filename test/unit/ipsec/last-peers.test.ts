// Where devices that dial in were last seen.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { LastPeers } from '../../../node/ipsec/strongswan/last-peers.ts'
import { ID } from './tunnels.ts'

const seen = (peers: LastPeers, tunnel = ID) =>
  peers.note([tunnel, { 'remote-host': '192.0.2.2', 'remote-port': '4500' }])
const PEER = { host: '192.0.2.2', port: 4500 }

test('a daemon that died calls those that were connected, once', () => {
  const peers = new LastPeers()
  seen(peers)
  seen(peers, 'ffffffffffffffff')
  peers.forget('ffffffffffffffff')
  peers.sendAllAway()
  assert.deepEqual(peers.callBack(ID), PEER)
  assert.equal(peers.callBack('ffffffffffffffff'), undefined)
  peers.sendAllAway()
  assert.equal(peers.callBack(ID), undefined)
})

test('one whose tunnel is taken down while it is connected is called when it is wanted again, once', () => {
  const peers = new LastPeers()
  peers.sendAway(ID)
  assert.equal(peers.callBack(ID), undefined)
  seen(peers)
  peers.sendAway(ID)
  peers.forget(ID)
  assert.deepEqual(peers.callBack(ID), PEER)
  assert.equal(peers.callBack(ID), undefined)
})

test('one that was ended for other settings, and is not back, is called when its tunnel was down for all, and only then', () => {
  const peers = new LastPeers()
  const ended = () => {
    seen(peers)
    peers.settingsChanged(ID)
    peers.forget(ID)
  }
  ended()
  peers.sendAway(ID)
  assert.equal(peers.callBack(ID), undefined, 'this controller drained: the device may be at another')
  peers.sendAway(ID, true)
  assert.deepEqual(peers.callBack(ID), PEER)
  peers.sendAway(ID, true)
  assert.equal(peers.callBack(ID), undefined)

  ended()
  seen(peers)
  peers.forget(ID)
  peers.sendAway(ID, true)
  assert.equal(peers.callBack(ID), undefined, 'it was back, and went by itself')
})

test('those that were sent away are not remembered without end', () => {
  const peers = new LastPeers()
  for (let n = 0; n < 5000; n++) {
    seen(peers, `${n}`)
    peers.sendAway(`${n}`)
  }
  assert.equal(peers.callBack('0'), undefined)
  assert.deepEqual(peers.callBack('4999'), PEER)
})
