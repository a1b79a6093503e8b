import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ViaPinger } from '../../../node/via-pinger.ts'

const request = (target: number, source: number, address = 5) => ({ target, sequence: 1, address, source })

function bench() {
  const sent: { port: number; address: number; sequence: number }[] = []
  const pinger = new ViaPinger((port, address, sequence) => {
    if (port === 99) return false
    sent.push({ port, address, sequence })
    return true
  })
  const collected = () => {
    const targets: number[] = []
    pinger.collect(({ target }) => targets.push(target))
    return targets
  }
  return { pinger, sent, collected }
}

test('an answer counts for the request that left by its port, once', () => {
  const { pinger, sent, collected } = bench()
  assert.equal(pinger.send(request(1, 7)), true)
  assert.equal(pinger.send(request(2, 8)), true)
  assert.equal(pinger.send(request(3, 99)), false)
  const [first, second] = sent
  assert.equal(pinger.answered(8, 5, first.sequence), false)
  assert.equal(pinger.answered(7, 6, first.sequence), false)
  assert.deepEqual(collected(), [])
  assert.equal(pinger.answered(8, 5, second.sequence), true)
  assert.equal(pinger.answered(8, 5, second.sequence), false)
  assert.deepEqual(collected(), [2])
  assert.deepEqual(collected(), [])
})

test('who was heard is known until it is no probe any more', () => {
  const { pinger, sent } = bench()
  pinger.send(request(1, 7))
  assert.equal(pinger.hasHeard(7, 5), false)
  pinger.answered(7, 5, sent[0].sequence)
  assert.equal(pinger.hasHeard(7, 5), true)
  pinger.keep([{ port: 7, address: 5 }])
  assert.equal(pinger.hasHeard(7, 5), true)
  pinger.keep([{ port: 8, address: 5 }])
  assert.equal(pinger.hasHeard(7, 5), false)
})

test('requests without an answer do not pile up', () => {
  const { pinger, sent, collected } = bench()
  for (let target = 0; target < 5000; target++) pinger.send(request(target, 7))
  for (const { port, address, sequence } of sent) pinger.answered(port, address, sequence)
  assert.equal(collected().length, 2048)
})
