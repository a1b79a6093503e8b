// The events' file as a crash, a full disk or an editor may leave it.
import assert from 'node:assert/strict'
import { EventLog } from '../../node/events.ts'
import { fuzz } from './mutate.ts'

const lines: string[] = []
const log = new EventLog({ store: { lines: () => [], append: line => lines.push(line) }, now: () => 1.7e12 })
log.append({ type: 'controller-started', message: 'controller "a" started' })
log.append({
  type: 'session-up',
  client: 'web',
  address: '10.77.0.9',
  remote: '[::1]:1194',
  tags: { a: ['b', 1, null] },
})
log.append({ type: 'session-down', client: 'wéb\n' })

fuzz({
  name: 'lines of the events file',
  corpus: [new TextEncoder().encode(`${lines.join('\n')}\n`)],
  check: input => {
    const store = { lines: () => Buffer.from(input).toString('utf8').split('\n'), append: () => {} }
    const log = new EventLog({ store, now: () => 1.7e12, capacity: 4 })
    const before = log.recent()
    for (const [i, event] of before.entries()) {
      assert.ok(event.seq > (before[i - 1]?.seq ?? 0))
      assert.equal(typeof event.type, 'string')
    }
    const next = log.append({ type: 'session-up' })
    assert.ok(next !== undefined && next.seq > (before.at(-1)?.seq ?? 0))
  },
})
