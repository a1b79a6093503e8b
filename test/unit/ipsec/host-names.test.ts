// Host names of remote ends: when they are looked up, and what is known of them meanwhile.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { HostNames } from '../../../node/ipsec/strongswan/host-names.ts'

interface Question {
  readonly name: string
  readonly answer: (...addresses: string[]) => Promise<void>
  readonly fail: () => Promise<void>
}

function bench() {
  const state = { now: 0, changes: 0 }
  /** Under way. */
  const questions: Question[] = []
  const lookUp = (name: string): Promise<string[]> =>
    new Promise((resolve, reject) => {
      const end = async (outcome: () => void): Promise<void> => {
        questions.splice(0, 1)
        outcome()
        await new Promise(resolve => setImmediate(resolve))
      }
      questions.push({
        name,
        answer: (...addresses) => end(() => resolve(addresses)),
        fail: () => end(() => reject(new Error('ENOTFOUND'))),
      })
    })
  const names = new HostNames({ lookUp, now: () => state.now })
  names.onChange = () => void state.changes++
  const asked = (): string[] => questions.map(({ name }) => name)
  return { state, names, questions, asked }
}

test('are looked up one after the other, and each is known as soon as it is found', async () => {
  const { state, names, questions, asked } = bench()
  names.want(['a.example', 'b.example', '192.0.2.2', '2001:db8::2', '%any'])
  const all = names.look()
  for (let turn = 0; turn < 9; turn++) void names.look()
  assert.deepEqual(asked(), ['a.example'])
  await questions[0].answer('192.0.2.7', '2001:db8::7')
  assert.deepEqual(names.addresses('a.example'), ['192.0.2.7', '2001:db8::7'])
  assert.equal(state.changes, 1)
  assert.deepEqual(asked(), ['b.example'])
  await questions[0].answer('192.0.2.8')
  await all
  assert.deepEqual([state.changes, asked()], [2, []])
  await names.look()
  assert.deepEqual(asked(), [])
})

test('one that nobody asked for yet comes before those that are asked for again', async () => {
  const { state, names, questions, asked } = bench()
  names.want(['a.example', 'b.example'])
  void names.look()
  await questions[0].fail()
  names.want(['a.example', 'b.example', 'new.example'])
  state.now = 20_000
  await questions[0].fail()
  assert.deepEqual(asked(), ['new.example'])
  await questions[0].fail()
  assert.deepEqual(asked(), ['a.example'])
})

test('are asked for each minute, and keep what was found when they are not found any more', async () => {
  const { state, names, questions, asked } = bench()
  names.want(['a.example'])
  void names.look()
  await questions[0].answer('192.0.2.7')
  state.now = 59_999
  void names.look()
  assert.deepEqual(asked(), [])
  for (const fails of [true, false]) {
    state.now += 60_000
    void names.look()
    await (fails ? questions[0].fail() : questions[0].answer())
    assert.deepEqual(names.addresses('a.example'), ['192.0.2.7'])
    assert.equal(names.isMissing('a.example'), false)
  }
  assert.equal(state.changes, 1)
  state.now += 60_000
  void names.look()
  await questions[0].answer('192.0.2.8')
  assert.deepEqual([names.addresses('a.example'), state.changes], [['192.0.2.8'], 2])
})

test('one that is not found is asked for again soon, then ever more rarely, and for good', async () => {
  const { state, names, questions } = bench()
  names.want(['a.example'])
  const times: number[] = []
  for (; state.now < 90_000; state.now += 1000) {
    void names.look()
    if (questions.length === 0) continue
    times.push(state.now)
    await questions[0].fail()
  }
  assert.deepEqual(times, [0, 1000, 3000, 7000, 15_000, 30_000, 45_000, 60_000, 75_000])
})

test('is missing once it was not found, or after 5 s; addresses are where they are', async () => {
  const { state, names, questions } = bench()
  names.want(['a.example', '192.0.2.2', '%any'])
  void names.look()
  assert.deepEqual([names.isLocated('a.example'), names.isMissing('a.example')], [false, false])
  state.now = 5000
  assert.equal(names.isMissing('a.example'), true)
  await questions[0].answer('192.0.2.7')
  assert.deepEqual([names.isLocated('a.example'), names.isMissing('a.example')], [true, false])
  names.want(['b.example'])
  void names.look()
  assert.equal(names.isMissing('b.example'), false)
  await questions[0].fail()
  assert.deepEqual([names.isLocated('b.example'), names.isMissing('b.example')], [false, true])
  for (const remote of ['192.0.2.2', '2001:db8::2', '%any'])
    assert.deepEqual([names.isLocated(remote), names.isMissing(remote)], [true, false])
})

test('is forgotten with the last that has it, also while it is looked up', async () => {
  const { state, names, questions, asked } = bench()
  names.want(['a.example', 'b.example'])
  void names.look()
  names.want([])
  await questions[0].answer('192.0.2.7')
  assert.deepEqual([names.addresses('a.example'), asked(), state.changes], [[], [], 0])
  assert.equal(names.isMissing('a.example'), false)
})
