// Who dials an attachment and who carries it, as situations follow each other.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  candidates,
  carrierOf,
  Dialling,
  GRACE_MS,
  Listening,
  QUIET_MS,
  RESTART_MS,
  RETURN_MS,
  Restarts,
  Surpluses,
  type Terminator,
} from '../../../node/ipsec/election.ts'
import { identity } from '../state/samples.ts'

const [A, B, C] = [0, 1, 2].map(index => identity(index).id)
const dialled = { id: '00000000000000aa', initiate: true, controllers: [A, B] }
const free = { ...dialled, controllers: [] }
const dialling = { ...dialled, initiate: false, controllers: [] }
const at = (id: typeof A, since?: number, draining = false): Terminator => ({ id, since, draining })

test('the preferred controllers dial, in their order, and nobody else', () => {
  assert.deepEqual(candidates(dialled, [at(C), at(B), at(A)]), [A, B])
  assert.deepEqual(candidates(dialled, [at(C), at(B)]), [B])
  assert.deepEqual(candidates(dialled, [at(A, 1, true), at(B)]), [B])
  assert.deepEqual(candidates(dialled, [at(C)]), [])
})

test('without a preference, attachments are spread over all, and each has the same order everywhere', () => {
  const order = candidates(free, [at(A), at(B), at(C)])
  assert.deepEqual([...order].sort(), [A, B, C].sort())
  assert.deepEqual(candidates(free, [at(C), at(A), at(B)]), order)
  const firsts = new Set(
    Array.from({ length: 40 }, (_, i) => candidates({ ...free, id: String(i) }, [at(A), at(B), at(C)])[0]),
  )
  assert.equal(firsts.size, 3)
})

test('of several where it is up, the best candidate carries what is dialled, the last one what dials', () => {
  assert.equal(carrierOf(dialled, [at(A), at(B, 5), at(C)]), B)
  assert.equal(carrierOf(dialled, [at(A, 9), at(B, 5)]), A)
  assert.equal(carrierOf(dialled, [at(A), at(C, 3)]), C, 'the site may dial whom it likes')
  assert.equal(carrierOf(dialling, [at(A, 4), at(B, 7), at(C, 7)]), B < C ? B : C)
  assert.equal(carrierOf(dialling, [at(A), at(B)]), undefined)
})

test('a controller that drains carries only what nobody else has', () => {
  assert.equal(carrierOf(dialled, [at(A, 1, true), at(B)]), A)
  assert.equal(carrierOf(dialled, [at(A, 1, true), at(B, 2)]), B)
  assert.equal(carrierOf(dialling, [at(A, 9, true), at(B, 2)]), B)
})

test('the next dials at once when the first is gone', () => {
  const b = new Dialling(B)
  assert.equal(b.decide(dialled, [at(A, 1), at(B)], 0).dial, false)
  assert.equal(b.decide(dialled, [at(B)], 10).dial, true)
})

test('one that drains is relieved at once', () => {
  assert.equal(new Dialling(B).decide(dialled, [at(A, 1, true), at(B)], 0).dial, true)
})

test('the first is back: it waits for a quiet minute, then dials beside the one that carries', () => {
  const a = new Dialling(A)
  const back = [at(A), at(B, 5)]
  assert.deepEqual(a.decide(dialled, back, 1000), { dial: false, until: 1000 + QUIET_MS })
  assert.equal(a.decide(dialled, back, 1000 + QUIET_MS - 1).dial, false)
  assert.equal(a.decide(dialled, back, 1000 + QUIET_MS).dial, true)
  assert.equal(new Dialling(B).decide(dialled, back, 1e9).dial, false)
})

test('a minute in which something happened was not quiet', () => {
  const a = new Dialling(A)
  a.decide(dialled, [at(A), at(B, 5)], 0)
  // The carrier was lost and found: the first dials in between, at once.
  assert.equal(a.decide(dialled, [at(A), at(B)], 50_000).dial, true)
  assert.equal(a.decide(dialled, [at(A), at(B, 6)], 50_100).dial, false)
  assert.equal(a.decide(dialled, [at(A), at(B, 6)], QUIET_MS).dial, false)
})

test('nobody dials what dials itself', () => {
  for (const id of [A, B, C])
    assert.equal(new Dialling(id).decide(dialling, [at(A), at(B), at(C)], 0).dial, false)
})

test('what another carries is ended after a moment, in which it may have moved back', () => {
  const surpluses = new Surpluses()
  assert.equal(surpluses.decide('x', true, true, 0), 'wait')
  assert.equal(surpluses.decide('x', false, true, GRACE_MS - 1), 'keep')
  assert.equal(surpluses.decide('x', true, true, GRACE_MS), 'wait')
  assert.equal(surpluses.decide('x', true, true, 2 * GRACE_MS), 'end')
})

test('a site that comes back after it was ended is let be: it keeps several', () => {
  const surpluses = new Surpluses()
  surpluses.decide('x', true, false, 0)
  assert.equal(surpluses.decide('x', true, false, GRACE_MS), 'end')
  surpluses.cameUp('x', GRACE_MS + RETURN_MS - 1)
  assert.equal(surpluses.keepsSeveral('x', GRACE_MS + RETURN_MS), true)
  assert.equal(surpluses.decide('x', true, false, 10 * GRACE_MS + RETURN_MS), 'keep')
  // Another controller is told, and does not end it even once.
  const other = new Surpluses()
  other.isSeveral('x', 0)
  assert.equal(other.decide('x', true, false, GRACE_MS), 'keep')
})

test('a site that comes back much later, and one that we dial, are no such sites', () => {
  const surpluses = new Surpluses()
  surpluses.decide('x', true, false, 0)
  surpluses.decide('x', true, false, GRACE_MS)
  surpluses.cameUp('x', GRACE_MS + RETURN_MS)
  assert.equal(surpluses.keepsSeveral('x', GRACE_MS + RETURN_MS), false)
  surpluses.isSeveral('y', 0)
  surpluses.decide('y', true, true, 0)
  assert.equal(surpluses.decide('y', true, true, GRACE_MS), 'end')
})

test('a daemon that ended is about to be back for a moment, one that never ran is not', () => {
  const restarts = new Restarts()
  restarts.note(A, false, 0)
  assert.equal(restarts.isExpected(A, 1), false)
  restarts.note(A, true, 10)
  assert.equal(restarts.isExpected(A, 10), false)
  restarts.note(A, false, 20)
  restarts.note(A, false, 1000)
  assert.equal(restarts.isExpected(A, 20 + RESTART_MS - 1), true)
  assert.equal(restarts.isExpected(A, 20 + RESTART_MS), false)
  restarts.note(A, true, 5000)
  restarts.note(A, false, 6000)
  restarts.keep(new Set())
  assert.equal(restarts.isExpected(A, 6000), false)
})

test('one that has just started dials once it has heard of all others, or had time to', () => {
  const listening = new Listening(1000)
  assert.equal(listening.isOver(1, 2, 1000), false)
  assert.equal(listening.isOver(1, 2, 10_999), false)
  assert.equal(listening.isOver(1, 2, 11_000), true)
  assert.equal(listening.isOver(0, 2, 12_000), true, 'who is gone later is gone')
  const alone = new Listening(1000)
  assert.equal(alone.isOver(0, 0, 1000), true)
})
