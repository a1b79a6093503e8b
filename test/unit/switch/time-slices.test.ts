// When the switch asks for short time slices.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SHORT_SLICE, TimeSlices, USUAL_SLICE } from '../../../node/switch/time-slices.ts'

/** What was asked for while so many packets a second came, a quarter of a second each. */
function asked(rates: readonly number[]): number[] {
  const requests: number[] = []
  const slices = new TimeSlices(nanoseconds => requests.push(nanoseconds))
  let packets = 0
  slices.note(packets, 1000)
  for (const [i, rate] of rates.entries()) {
    packets += rate / 4
    slices.note(packets, 1250 + i * 250)
  }
  return requests
}

test('a switch that has few packets leaves slices as they are', () => {
  assert.deepEqual(asked([0, 1, 50, 400, 999]), [])
})

test('slices are short while many packets come, and asked for once', () => {
  assert.deepEqual(asked([2000, 80_000, 2000]), [SHORT_SLICE])
  assert.deepEqual(asked([2000, 0, 0]), [SHORT_SLICE, USUAL_SLICE])
})

test('a rate about the limit does not ask for ever new ones', () => {
  assert.deepEqual(asked([1100, 900, 1100, 900, 600, 400, 600, 900]), [SHORT_SLICE, USUAL_SLICE])
})
