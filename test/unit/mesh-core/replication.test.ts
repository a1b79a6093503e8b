// Records that come faster than they can be worked on.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import type { Frame } from '../../../mesh/messages.ts'
import { Replication } from '../../../mesh/replication.ts'
import { MemoryStore } from '../../../state/memory-store.ts'
import { Replica } from '../../../state/replica.ts'
import { identity, START, seeded, seededBytes, trust } from '../state/samples.ts'

const PEER = identity(1).id
/** Bytes of records, and what each takes beside. */
const MOST = { gossiped: 2 ** 26, peer: 2 ** 24 }
const EACH = 256

async function world() {
  const replica = await Replica.open({
    store: new MemoryStore(),
    identity: identity(0),
    trust,
    now: () => START,
    random: seededBytes(seeded(1)),
  })
  const replication = new Replication({
    replica,
    isAdmitted: () => true,
    peers: () => [PEER],
    send: () => true,
    publish: () => {},
    onRefused: () => {},
    onHeld: () => {},
    onFailure: () => {},
  })
  replication.connected(PEER)
  return { replica, replication }
}

/** How many are taken one after the other, with nothing done in between. */
function taken(offer: () => boolean): number {
  let count = 0
  while (count < 2000 && offer()) count++
  return count
}

for (const [name, records] of [
  ['great ones', Array.from({ length: 32 }, () => new Uint8Array(2 ** 16))],
  ['very many', Array.from({ length: 50_000 }, () => new Uint8Array(8))],
] as const)
  test(`what one peer sends of ${name} takes so much memory and no more, and is taken again once that is done`, async () => {
    const { replica, replication } = await world()
    const bytes = records.reduce((sum, { length }) => sum + length + EACH, 0)
    const frame: Frame = { type: 'repair', records }
    const gossiped = () => replication.gossiped(records, PEER)
    const told = () => replication.receive(PEER, frame)
    assert.ok(taken(gossiped) * bytes <= MOST.gossiped)
    assert.ok(taken(told) * bytes <= MOST.peer)
    // Its turn comes after theirs.
    await replica.poll()
    await turn()
    assert.deepEqual([gossiped(), told()], [true, true])
    replication.close()
    await replica.close()
  })

test('a thousand writes that are gossiped one by one are all taken', async () => {
  const { replica, replication } = await world()
  assert.equal(
    taken(() => replication.gossiped([new Uint8Array(48_000)], undefined)),
    1000,
  )
  await replica.close()
})
