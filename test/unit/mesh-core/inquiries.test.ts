// Questions between controllers: answered, unanswered, and too many.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Inquiries } from '../../../mesh/inquiries.ts'
import type { Frame } from '../../../mesh/messages.ts'
import { identity } from '../state/samples.ts'

const [A, B] = [identity(0).id, identity(1).id]

/** Two controllers with a channel that can be cut. */
function pair() {
  const line = { isUp: true }
  const failures: unknown[] = []
  const onFailure = (error: unknown) => void failures.push(error)
  const a: Inquiries = new Inquiries({ send: (_peer, frame) => line.isUp && deliver(b, A, frame), onFailure })
  const b: Inquiries = new Inquiries({ send: (_peer, frame) => line.isUp && deliver(a, B, frame), onFailure })
  return { a, b, line, failures }
}

function deliver(to: Inquiries, from: typeof A, frame: Frame): boolean {
  queueMicrotask(() => to.receive(from, frame as Frame & { type: 'ask' | 'told' }))
  return true
}

test('a question is answered by whom it was put to', async () => {
  const { a, b } = pair()
  b.onAsk = async (about, peer) => `${about} for ${peer === A ? 'a' : 'b'}`
  assert.deepEqual(await Promise.all([a.ask(B, 'x'), a.ask(B, 'y')]), ['x for a', 'y for a'])
})

test('a question that cannot be answered by a mistake here has no answer, and the mistake is told', async () => {
  const { a, b, failures } = pair()
  const mistake = new Error('not thought of')
  b.onAsk = async () => {
    throw mistake
  }
  assert.equal(await a.ask(B, 'x', 20), undefined)
  assert.deepEqual(failures, [mistake])
  b.onAsk = async () => 'well'
  assert.equal(await a.ask(B, 'x'), 'well')
})

test('nobody there, no answer in time, and a channel that closes: no answer', async () => {
  const { a, b, line } = pair()
  assert.equal(await a.ask(B, 'not understood', 20), undefined)
  const { promise, resolve } = Promise.withResolvers<string>()
  b.onAsk = () => promise
  const waiting = a.ask(B, 'slow', 10_000)
  a.parted(B)
  assert.equal(await waiting, undefined)
  resolve('too late')
  line.isUp = false
  assert.equal(await a.ask(B, 'x'), undefined)
})

test('an answer counts from whom was asked only', async () => {
  const { a, line } = pair()
  const answer = a.ask(B, 'x', 50)
  line.isUp = false
  a.receive(A, { type: 'told', number: 1, text: 'from another' })
  assert.equal(await answer, undefined)
})

test('one peer has only so many questions answered at a time', async t => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const { a, b } = pair()
  let open = 0
  const { promise, resolve } = Promise.withResolvers<string>()
  b.onAsk = () => {
    open++
    return promise
  }
  const all = Array.from({ length: 40 }, () => a.ask(B, 'x', 200))
  await new Promise(setImmediate)
  assert.equal(open, 16)
  resolve('done')
  await new Promise(setImmediate)
  t.mock.timers.tick(200)
  assert.equal((await Promise.all(all)).filter(text => text === 'done').length, 16)
})
