// Who is dialled when.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { Dialer } from '../../../mesh/libp2p/dialer.ts'
import type { ControllerId } from '../../../state/kinds.ts'

const [low, high] = ['1'.repeat(20), '2'.repeat(20)] as ControllerId[]

function dialer(id: ControllerId) {
  const made = { now: 1_000_000, dialled: [] as number[], dialer: undefined as unknown as Dialer }
  made.dialer = new Dialer({
    id,
    now: () => made.now,
    random: () => 0.5,
    dial: async () => {
      made.dialled.push(made.now)
      return false
    },
  })
  return made
}

async function pass(made: ReturnType<typeof dialer>, ms: number): Promise<void> {
  for (const end = made.now + ms; made.now < end; made.now += 100) {
    made.dialer.poll()
    await Promise.resolve()
    await Promise.resolve()
  }
}

test('the lower id dials at once and goes on for ever, in pauses of five seconds at most', async () => {
  const made = dialer(low)
  const start = made.now
  made.dialer.setMissing([high])
  await pass(made, 600_000)
  assert.equal(made.dialled[0], start)
  const pauses = made.dialled.slice(1).map((at, i) => at - made.dialled[i])
  assert.ok(Math.max(...pauses) <= 5100, `${Math.max(...pauses)}`)
  assert.ok(made.dialled.length > 120)
})

test('the higher id leaves it three seconds and more', async () => {
  const made = dialer(high)
  const start = made.now
  made.dialer.setMissing([low])
  await pass(made, 10_000)
  assert.ok(made.dialled[0] - start >= 3000 && made.dialled[0] - start < 4600)
})

test('who is reached is not dialled any more', async () => {
  const made = dialer(low)
  made.dialer.setMissing([high])
  made.dialer.setMissing([])
  await pass(made, 10_000)
  assert.deepEqual(made.dialled, [])
})

test('a clock that is set back delays nothing', async () => {
  const made = dialer(low)
  made.dialer.setMissing([high])
  await pass(made, 10_000)
  made.now -= 3_600_000
  const start = made.now
  made.dialled.length = 0
  await pass(made, 10_000)
  assert.ok(made.dialled[0] - start <= 2000)
  assert.ok(made.dialled.length >= 5)
})

test('many that are out of reach keep nobody from being dialled', async () => {
  const first = new Map<ControllerId, number>()
  let now = 1_000_000
  const start = now
  /** Attempts that lead nowhere end after so long. */
  const ends: { at: number; end: (found: boolean) => void }[] = []
  const peers = Array.from({ length: 80 }, (_, n) => n.toString(16).padStart(20, 'a') as ControllerId)
  const dialer = new Dialer({
    id: low,
    now: () => now,
    random: () => 0.5,
    dial: peer => {
      if (!first.has(peer)) first.set(peer, now)
      return new Promise(end => ends.push({ at: now + 6000, end }))
    },
  })
  dialer.setMissing(peers)
  for (; now < start + 100_000; now += 100) {
    for (const { end } of ends.filter(({ at }) => at <= now)) end(false)
    await turn()
    dialer.poll()
  }
  assert.equal(first.size, peers.length)
  assert.ok(Math.max(...first.values()) - start <= 20_000)
})
