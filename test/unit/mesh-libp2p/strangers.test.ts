// The door of a controller, while those who are not of its mesh come in great numbers.
import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { test } from 'node:test'
import type { Connection, Libp2p } from '@libp2p/interface'
import { dialJoin } from '../../../mesh/libp2p/dial-join.ts'
import { dialAddresses } from '../../../mesh/libp2p/endpoints.ts'
import { peerIdOf } from '../../../mesh/libp2p/identity.ts'
import { createPlainNode } from '../../../mesh/libp2p/node.ts'
import type { JoinHandler } from '../../../mesh/libp2p/transport.ts'
import { identity } from '../state/samples.ts'
import { startNode, until } from './world.ts'

const PLACES = 64
/** One after the other, as those are counted that are through the handshake. */
const COMING = PLACES + 6

const publicKey = Buffer.from(identity(0).publicKey, 'hex')
const aKey = () => generateKeyPairSync('ed25519').privateKey

/** So many strangers connect, and say nothing. `staying` tells who of them, in the order in which they came, is connected. */
async function withStrangers(
  joins: JoinHandler | undefined,
  work: (staying: () => number[], endpoint: string) => Promise<void>,
): Promise<void> {
  const node = await startNode(0, { joins, strangerMs: 120_000 })
  const strangers: Libp2p[] = []
  try {
    const endpoint = `127.0.0.1:${node.port}`
    const addresses = await dialAddresses([endpoint], peerIdOf(publicKey).toString())
    while (strangers.length < COMING) {
      const stranger = await createPlainNode(aKey())
      strangers.push(stranger)
      // One that is refused hears of it while it dials, or right after.
      await stranger.dial(addresses).catch(() => {})
    }
    const staying = () =>
      strangers.flatMap((each, index) => (each.getConnections().some(isOpen) ? [index] : []))
    await work(staying, endpoint)
  } finally {
    await Promise.all([node.stop(), ...strangers.map(each => each.stop())])
  }
}

const isOpen = ({ status }: Connection): boolean => status === 'open'
const count = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, i) => from + i)

test('strangers take so many places and no more: who came first stays', { timeout: 60_000 }, () =>
  withStrangers(undefined, async staying => {
    await until('the others are gone', () => staying().length <= PLACES, 5000)
    assert.deepEqual(staying(), count(0, PLACES))
  }),
)

test('while somebody is invited who came first goes, and a newcomer gets past them', {
  timeout: 60_000,
}, async () => {
  let served = 0
  const serve = async (): Promise<void> => {
    served++
  }
  await withStrangers({ open: () => true, serve }, async (staying, endpoint) => {
    await until('the first are gone', () => staying().length <= PLACES, 5000)
    assert.deepEqual(staying(), count(COMING - PLACES, COMING))
    const join = await dialJoin({ privateKey: aKey(), endpoints: [endpoint], publicKey, timeoutMs: 5000 })
    await until('it is served', () => served === 1, 5000)
    await until('another one is gone', () => staying().length < PLACES, 5000)
    assert.deepEqual(staying(), count(COMING - PLACES + 1, COMING))
    await join.close()
  })
})
