// What one replica offers another that has nothing yet.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { decodeRecord, encodeRecord } from '../../../state/record.ts'
import {
  controllerOp,
  exchange,
  foundMesh,
  MESH_ID,
  openReplica,
  pull,
  settingOp,
  twoHalves,
} from './samples.ts'

/** Rounds beyond it would go on for ever. */
const ENOUGH = 100

function kindOf(bytes: Uint8Array): string {
  const decoded = decodeRecord(bytes)
  return decoded.ok ? decoded.record.kind : 'unreadable'
}

test('controllers come first, so that what their authors wrote can be judged as it comes', async () => {
  const { a: founder, b: other } = await twoHalves()
  for (const { replica } of [founder, other]) {
    await replica.write(
      Array.from({ length: 100 }, (_, i) => settingOp(`${replica.id.slice(0, 4)}.${i}`, 'x'.repeat(500))),
    )
  }
  // Their own records are now the last that they wrote.
  const moved = { meshEndpoints: ['192.0.2.99:4001'] }
  await founder.replica.write([controllerOp(0, moved)])
  await other.replica.write([controllerOp(1, moved)])
  await exchange(founder.replica, other.replica)

  const newcomer = await openReplica(2)
  for (let round = 1; ; round++) {
    assert.ok(round < ENOUGH, 'it does not end')
    const delta = founder.replica.missingFor(newcomer.replica.vector(), 4096)!
    if (round === 1) assert.deepEqual(delta.records.slice(0, 2).map(kindOf), ['controller', 'controller'])
    for (const { outcome } of await newcomer.replica.absorb(delta)) assert.equal(outcome, 'merged')
    if (!delta.more) break
  }
  assert.equal(newcomer.replica.held, 0)
  assert.equal(newcomer.replica.hash(), founder.replica.hash())
})

test('more controllers than fit into one answer come in several', async () => {
  const founder = await foundMesh()
  for (let i = 1; i < 20; i++) {
    const each = await openReplica(i)
    await pull(each.replica, founder.replica)
    await each.replica.write([controllerOp(i)])
    await exchange(founder.replica, each.replica)
  }
  const newcomer = await openReplica(20)
  assert.ok((await pull(newcomer.replica, founder.replica, 1500)) > 3)
  assert.equal(newcomer.replica.hash(), founder.replica.hash())
})

test('an answer to an earlier question does not hold for a replica that asks for more by now', async () => {
  const { a: founder, b: other } = await twoHalves()
  const asked = other.replica.vector()
  await founder.replica.write([settingOp('later', 1)])
  const answer = founder.replica.missingFor(asked)!
  // The same controller, its disk wiped before the answer came.
  const wiped = await openReplica(1)
  await wiped.replica.absorb(answer)
  await exchange(founder.replica, wiped.replica)
  assert.equal(wiped.replica.get('setting', 'later')?.value, 1)
  assert.ok(wiped.replica.get('mesh', MESH_ID))
  assert.equal(wiped.replica.hash(), founder.replica.hash())
})

test('nor where that replica knows the author by now: what came before is not taken for known', async () => {
  const { a: founder, b: other } = await twoHalves()
  await founder.replica.write([settingOp('before', 1)])
  await pull(other.replica, founder.replica)
  const asked = other.replica.vector()
  await founder.replica.write([settingOp('later', 1)])
  const answer = founder.replica.missingFor(asked)!
  const wiped = await openReplica(1)
  await wiped.replica.receive([encodeRecord(founder.replica.record('controller', founder.replica.id)!)])
  await wiped.replica.absorb(answer)
  assert.equal(wiped.replica.get('setting', 'later')?.value, 1)
  await exchange(founder.replica, wiped.replica)
  assert.equal(wiped.replica.get('setting', 'before')?.value, 1)
  assert.equal(wiped.replica.hash(), founder.replica.hash())
})

test('a controller whose record was replaced by one that came too early, and lost, is found again', async () => {
  const remover = await foundMesh()
  const [removed, witness, newcomer] = [await openReplica(1), await openReplica(2), await openReplica(3)]
  for (const [i, each] of [removed, witness].entries()) {
    await pull(each.replica, remover.replica)
    await each.replica.write([controllerOp(i + 1)])
    await exchange(remover.replica, each.replica)
  }
  await exchange(removed.replica, witness.replica)
  remover.time += 10 * 60_000
  await remover.replica.write([controllerOp(1, { removedAt: remover.time })])
  await pull(newcomer.replica, remover.replica)
  assert.equal(newcomer.replica.held, 1)
  assert.equal(newcomer.replica.get('controller', removed.replica.id), undefined)
  // From here on the remover is gone for good, and nobody else heard of the removal.
  await removed.replica.write([settingOp('later', 1)])
  await exchange(removed.replica, witness.replica)
  for (let round = 0; round < 3; round++) await pull(newcomer.replica, witness.replica)
  assert.equal(newcomer.replica.get('setting', 'later')?.value, 1)
  assert.equal(newcomer.replica.hash(), witness.replica.hash())
})

test('what is left of many writes comes in the order it was written, also in several parts', async () => {
  const founder = await foundMesh()
  for (const id of ['a', 'b', 'c', 'd']) {
    await founder.replica.write([settingOp(id, 'y'.repeat(300))])
    for (let i = 0; i < 50; i++) await founder.replica.write([settingOp('x', i)])
  }
  const newcomer = await openReplica(1)
  const sequences: number[] = []
  for (let more = true; more; ) {
    const delta = founder.replica.missingFor(newcomer.replica.vector(), 600)!
    for (const bytes of delta.records) {
      const decoded = decodeRecord(bytes)
      if (decoded.ok && decoded.record.kind === 'setting') sequences.push(decoded.record.sequence)
    }
    await newcomer.replica.absorb(delta)
    more = delta.more
  }
  assert.equal(sequences.length, 5)
  assert.deepEqual(
    sequences,
    sequences.toSorted((a, b) => a - b),
  )
  assert.equal(newcomer.replica.hash(), founder.replica.hash())
})
