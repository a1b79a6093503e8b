import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  EventLog,
  EventLogError,
  type EventStore,
  MAX_EVENT_LENGTH,
  MAX_SUBSCRIBERS,
  PROVOKED,
  type RecordedEvent,
} from '../../../node/events.ts'

class MemoryStore implements EventStore {
  readonly kept: string[]
  fails = false
  constructor(kept: string[] = []) {
    this.kept = kept
  }
  lines(): string[] {
    return [...this.kept]
  }
  append(line: string): void {
    if (this.fails) throw new Error('no space left on device')
    this.kept.push(line)
  }
}

const START = Date.parse('2025-06-01T12:00:00Z')
const seqs = (events: RecordedEvent[]) => events.map(event => event.seq)

test('an event gets a number and a time, and keeps its fields', () => {
  const log = new EventLog({ now: () => START })
  const event = log.append({
    type: 'client-added',
    message: 'web was added',
    client: 'web',
    address: '10.77.0.9',
  })
  assert.deepEqual(event, {
    seq: 1,
    at: '2025-06-01T12:00:00.000Z',
    type: 'client-added',
    message: 'web was added',
    client: 'web',
    address: '10.77.0.9',
  })
  assert.equal(log.append({ type: 'session-up' })?.seq, 2)
})

test('fields cannot pass for number, time or type', () => {
  const log = new EventLog({ now: () => START })
  const event = log.append({ type: 'session-up', seq: 99, at: 'never', suppressed: undefined })
  assert.deepEqual(event, { seq: 1, at: '2025-06-01T12:00:00.000Z', type: 'session-up' })
})

test('memory holds the latest events up to its capacity', () => {
  const log = new EventLog({ now: () => START, capacity: 5 })
  for (let i = 1; i <= 5; i++) log.append({ type: 'session-up' })
  assert.deepEqual(seqs(log.recent()), [1, 2, 3, 4, 5])
  for (let i = 6; i <= 13; i++) {
    log.append({ type: 'session-up' })
    assert.deepEqual(seqs(log.recent()), [i - 4, i - 3, i - 2, i - 1, i])
  }
  assert.deepEqual(seqs(log.recent(2)), [12, 13])
  assert.deepEqual(seqs(log.recent(0)), [])
})

test('the default capacity is 10,000, the default page 1,000', () => {
  const log = new EventLog({ now: () => START })
  for (let i = 1; i <= 10_003; i++) log.append({ type: 'session-up' })
  assert.equal(log.recent(20_000).length, 10_000)
  assert.equal(log.recent(20_000)[0].seq, 4)
  assert.equal(log.recent().length, 1000)
})

test('a reader goes on from where it was, page by page', () => {
  const log = new EventLog({ now: () => START, capacity: 6 })
  for (let i = 1; i <= 8; i++) log.append({ type: 'session-up' })
  assert.deepEqual(seqs(log.recent(2, 4)), [5, 6])
  assert.deepEqual(seqs(log.recent(2, 6)), [7, 8])
  assert.deepEqual(seqs(log.recent(2, 8)), [])
  assert.deepEqual(seqs(log.recent(2, 0)), [3, 4], 'what is no longer in memory is skipped')
})

test('subscribers see every event until they end, each on its own', () => {
  const problems: unknown[] = []
  const log = new EventLog({ now: () => START, onProblem: error => problems.push(error) })
  const seen: number[] = []
  const callback = (event: RecordedEvent) => void seen.push(event.seq)
  log.append({ type: 'session-up' })
  const endBroken = log.subscribe(() => {
    throw new Error('broken reader')
  })
  const endFirst = log.subscribe(callback)
  const endSecond = log.subscribe(callback)
  log.append({ type: 'session-down' })
  endFirst()
  endFirst()
  log.append({ type: 'session-down' })
  endSecond()
  endBroken()
  log.append({ type: 'session-down' })
  assert.deepEqual(seen, [2, 2, 3])
  assert.equal(problems.length, 2)
})

test('subscribers have a bound, and a place that is given up is free again', () => {
  const log = new EventLog({ now: () => START })
  const ends = Array.from({ length: MAX_SUBSCRIBERS }, () => log.subscribe(() => {}))
  assert.throws(() => log.subscribe(() => {}), EventLogError)
  ends[7]()
  log.subscribe(() => {})
  assert.throws(() => log.subscribe(() => {}), EventLogError)
})

test('what was stored is there after a restart, and numbers go on', () => {
  const store = new MemoryStore()
  const before = new EventLog({ store, now: () => START })
  for (let i = 0; i < 7; i++) before.append({ type: 'session-up', client: `c${i}` })
  const after = new EventLog({ store: new MemoryStore(store.kept), now: () => START })
  assert.deepEqual(after.recent(), before.recent())
  assert.equal(after.append({ type: 'session-up' })?.seq, 8)
  const small = new EventLog({ store: new MemoryStore(store.kept), now: () => START, capacity: 3 })
  assert.deepEqual(seqs(small.recent()), [6, 7, 8])
})

test('damaged lines are passed over', () => {
  const line = (seq: unknown) => JSON.stringify({ seq, at: '2025-06-01T12:00:00.000Z', type: 'session-up' })
  const kept = [
    '',
    line(1),
    line(2).slice(0, 30),
    'null',
    '[]',
    '7',
    '{"seq":3}',
    line('4'),
    line(1.5),
    line(5),
    line(5),
    line(2),
    `{"seq":6,"at":"x","type":"y","z":"${'z'.repeat(MAX_EVENT_LENGTH)}"}`,
    `${line(7)}${line(8)}`,
    line(9),
  ]
  const log = new EventLog({ store: new MemoryStore(kept), now: () => START })
  assert.deepEqual(seqs(log.recent()), [1, 5, 9])
  assert.equal(log.append({ type: 'session-up' })?.seq, 10)
})

test('a store that fails is reported once and costs nothing else', () => {
  const store = new MemoryStore()
  const problems: unknown[] = []
  const log = new EventLog({ store, now: () => START, onProblem: error => problems.push(error) })
  store.fails = true
  for (let i = 0; i < 3; i++) assert.ok(log.append({ type: 'session-up' }))
  assert.equal(problems.length, 1)
  assert.equal(log.recent().length, 3)
  store.fails = false
  log.append({ type: 'session-up' })
  assert.equal(store.kept.length, 1)
  store.fails = true
  log.append({ type: 'session-up' })
  assert.equal(problems.length, 2, 'it began anew')
})

test('an event is one line of bounded length', () => {
  const store = new MemoryStore()
  const log = new EventLog({ store, now: () => START })
  const circular: { self?: unknown } = {}
  circular.self = circular
  log.append({ type: 'session-up', message: 'a\nb\u2028c', client: 'x\r\ny' })
  log.append({ type: 'session-up', message: '\u0000'.repeat(5000), data: 'y'.repeat(10_000) })
  log.append({ type: 'session-up', message: 'm', data: circular })
  log.append({ type: 'session-up', data: 10n })
  for (const line of store.kept) {
    assert.ok(line.length <= MAX_EVENT_LENGTH)
    assert.ok(!/[\r\n]/.test(line))
  }
  assert.deepEqual(
    log.recent().map(event => event.cut),
    [undefined, true, true, true],
  )
  assert.equal(log.recent()[2].message, 'm')
  assert.deepEqual(new EventLog({ store, now: () => START }).recent(), log.recent())
})

test('events that strangers can provoke do not push out the others', () => {
  let now = START
  const log = new EventLog({ now: () => now, capacity: 1000 })
  log.append({ type: 'client-revoked' })
  let recorded = 0
  for (let i = 0; i < 5000; i++) if (log.append({ type: 'session-refused' })) recorded++
  assert.equal(recorded, PROVOKED.burst)
  assert.equal(log.recent()[0].type, 'client-revoked')
  assert.ok(log.append({ type: 'session-up' }), 'others are not held back')
  assert.ok(log.append({ type: 'float' }), 'nor is another type of the kind')
  now += 1000
  const next = log.append({ type: 'session-refused' })
  assert.equal(next?.suppressed, 5000 - PROVOKED.burst)
  assert.equal(log.append({ type: 'session-refused' })?.suppressed, undefined)
  for (let i = 2; i < PROVOKED.perSecond; i++) assert.ok(log.append({ type: 'session-refused' }))
  assert.equal(log.append({ type: 'session-refused' }), undefined)
  now -= 3600_000
  assert.equal(log.append({ type: 'session-refused' }), undefined, 'a clock set back gives nothing')
})
