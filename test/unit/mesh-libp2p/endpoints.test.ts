// What is dialled for the endpoints of a controller, which it wrote itself.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { dialAddresses } from '../../../mesh/libp2p/endpoints.ts'
import { peerIdOf } from '../../../mesh/libp2p/identity.ts'
import { pathsTo } from '../../../node/mesh-endpoints.ts'
import { identity } from '../state/samples.ts'

const PEER = peerIdOf(Buffer.from(identity(0).publicKey, 'hex')).toString()
/** A name of the local network may have an address that is good on one link alone. */
const resolve = async (host: string) => {
  if (host !== 'both.example') throw new Error('ENOTFOUND')
  return [
    { address: 'fe80::1%eth0', family: 6 },
    { address: '192.0.2.1', family: 4 },
  ]
}

test('of endpoints that nobody can dial the others are dialled all the same', async () => {
  const endpoints = ['a:b:1', '[::1:5', 'gone.example:1', 'both.example:4001', '[2001:db8::1]:4001']
  const addresses = await dialAddresses(endpoints, PEER, resolve)
  assert.deepEqual(
    addresses.map(each => each.toString().replace(`/p2p/${PEER}`, '')),
    ['/ip4/192.0.2.1/tcp/4001', '/ip6/2001:db8::1/tcp/4001'],
  )
})

test('no link is tried to an address that is good on one link alone', async () => {
  const paths = await pathsTo('both.example:1194', [{ host: '0.0.0.0' }, { host: '::' }], resolve)
  assert.deepEqual(
    paths.map(({ socket, remote, port }) => ({ socket, remote, port })),
    [{ socket: 0, remote: '192.0.2.1', port: 1194 }],
  )
})
