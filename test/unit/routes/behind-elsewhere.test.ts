// Who is behind on other controllers, as those are asked and answer.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MAX_ANSWER } from '../../../mesh/messages.ts'
import { BEHIND_QUESTION, behindAt, readBehind, writeBehind } from '../../../node/behind-elsewhere.ts'
import type { ClientId, ControllerId } from '../../../state/kinds.ts'

const client = (number: number) => number.toString(16).padStart(16, '0') as ClientId

test('what controllers say is put together; one that does not answer, or answers nonsense, tells of none', async () => {
  const answers: Record<string, string | undefined> = {
    alpha: writeBehind([client(1), client(2)]),
    beta: writeBehind([]),
    gamma: undefined,
    delta: `${client(3)} ../etc ${client(4)}0 ${client(5).toUpperCase()}x`,
  }
  const asked: string[] = []
  const behind = await behindAt(Object.keys(answers) as ControllerId[], {
    ask: async (controller, about) => {
      asked.push(about)
      return answers[controller]
    },
  })
  assert.deepEqual([...behind], [client(1), client(2), client(3)])
  assert.deepEqual(asked, Array(4).fill(BEHIND_QUESTION))
})

test('of more than an answer holds the first are told', () => {
  const all = Array.from({ length: 5000 }, (_, number) => client(number))
  const text = writeBehind(all)
  assert.ok(text.length <= MAX_ANSWER)
  const told = readBehind(text)
  assert.ok(told.length > 3000)
  assert.deepEqual(told, all.slice(0, told.length))
})
