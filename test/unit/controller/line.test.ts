// Who does something one after the other.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Line } from '../../../node/line.ts'

const moment = () => new Promise(resolve => setImmediate(resolve))

test('one is in at a time, in the order they came, and who stays for too long is not waited for', async t => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const line = new Line(3000)
  const entered: string[] = []
  const ends = new Map<string, () => void>()
  for (const name of ['a', 'b', 'c'])
    void line.enter().then(leave => {
      entered.push(name)
      ends.set(name, leave)
    })
  await moment()
  assert.deepEqual(entered, ['a'])
  ends.get('a')!()
  ends.get('a')!()
  await moment()
  assert.deepEqual(entered, ['a', 'b'])
  t.mock.timers.tick(2999)
  await moment()
  assert.deepEqual(entered, ['a', 'b'])
  t.mock.timers.tick(1)
  await moment()
  assert.deepEqual(entered, ['a', 'b', 'c'])
})
