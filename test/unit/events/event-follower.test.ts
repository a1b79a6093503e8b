import assert from 'node:assert/strict'
import { test } from 'node:test'
import { EventFeed } from '../../../node/api/event-feed.ts'
import { followEvents } from '../../../node/cli/event-follower.ts'
import { matches, patternProblem } from '../../../node/event-types.ts'
import { EventLog } from '../../../node/events.ts'
import type { Event, EventFilter } from '../../../node/service.ts'
import { ServiceError } from '../../../node/service-error.ts'

type Begin = EventFilter & { backlog?: number }
type Life = Event[] | ServiceError | undefined

const event = (seq: number): Event => ({ seq, at: '2026-01-02T03:04:05.678Z', type: 'float' })
const gone = new ServiceError('failed', 'the controller stops')

/** Follows through lives of a controller: what each sends, why it cannot be asked, or that it does not run. */
async function follow(lives: Life[], backlog = 10, types?: string[]) {
  const ended = new AbortController()
  const begins: Begin[] = []
  const seen: number[] = []
  const notes: string[] = []
  let life = 0
  await followEvents({
    connect: async () => {
      const sends = lives[life++]
      if (life > lives.length) ended.abort()
      if (sends === undefined) return undefined
      return {
        feed: async (callback, { signal, opened, ...begin }) => {
          begins.push(begin)
          if (sends instanceof ServiceError) throw sends
          opened?.()
          for (const each of sends) callback(each)
          throw gone
        },
      }
    },
    backlog,
    types,
    signal: ended.signal,
    event: each => seen.push(each.seq),
    note: text => notes.push(text),
    retryMs: 1,
  })
  return { begins, seen, notes }
}

test('follows over restarts, from where it was, and says so once', async () => {
  const { begins, seen, notes } = await follow([[event(1), event(2)], undefined, undefined, [event(3)], []])
  assert.deepEqual(seen, [1, 2, 3])
  assert.deepEqual(
    begins.map(({ backlog, since }) => [backlog, since]),
    [
      [10, undefined],
      [undefined, 2],
      [undefined, 3],
    ],
  )
  assert.deepEqual(notes, [
    'the controller does not run; waiting for it',
    'the controller stops; waiting for it',
  ])
})

test('says what it missed, and that another log began', async () => {
  const { seen, notes } = await follow([[event(5), event(9)], [event(1)]])
  assert.deepEqual(seen, [5, 9, 1])
  assert.deepEqual(notes.slice(0, 2), [
    '3 events are missed: the controller has them no more',
    'the events begin anew: the controller has other ones now',
  ])
  assert.doesNotMatch((await follow([[event(5), event(9)]], 10, ['float'])).notes.join(), /missed/)
})

test('ends when it could not begin, and when it may not go on', async () => {
  for (const code of ['failed', 'not-running', 'refused', 'forbidden'])
    await assert.rejects(follow([new ServiceError(code as 'failed', 'no')]), { message: 'no' })
  await assert.rejects(follow([undefined]), { code: 'not-running' })
  await assert.rejects(follow([[event(1)], new ServiceError('unauthenticated', 'revoked')]), {
    message: 'revoked',
  })
})

test('a feed after a number has all that came since, of the types that are wanted', async () => {
  const log = new EventLog({ now: () => 0 })
  const service = {
    events: async (limit?: number, { since, types }: EventFilter = {}) =>
      log.recent(limit, since, types && (({ type }) => matches(types, type))),
    follow: (callback: (each: Event) => void) => log.subscribe(callback),
  }
  for (let i = 0; i < 1500; i++) log.append({ type: i % 2 === 0 ? 'link-up' : 'client-added' })
  const read = async (begin: Begin): Promise<Event[]> => {
    const feed = await EventFeed.open(service, begin)
    setImmediate(() => log.append({ type: 'link-down' }))
    setImmediate(() => log.append({ type: 'client-kicked' }))
    setImmediate(() => feed.finish('enough'))
    let text = ''
    for await (const chunk of feed) text += chunk
    return text
      .split('\n')
      .filter(line => line !== '')
      .map(line => JSON.parse(line))
  }
  const links = await read({ since: 1496, types: ['link-*'] })
  assert.deepEqual(links.map(({ seq, type }) => [seq, type]).slice(0, 3), [
    [1497, 'link-up'],
    [1499, 'link-up'],
    [1501, 'link-down'],
  ])
  assert.deepEqual(links.at(-1)?.type, 'feed.end')
  // More than one answer holds: it ends, and whoever reads comes again.
  const many = await read({ since: 0 })
  assert.deepEqual([many.length, many[999].seq, many.at(-1)?.type], [1001, 1000, 'feed.end'])
  assert.equal((await read({ since: 1e9, backlog: 5 }))[0].seq, 1, 'a number of another log')
})

test('types are names, or how they begin', () => {
  assert.equal(patternProblem('session-up'), undefined)
  assert.equal(patternProblem('session-*'), undefined)
  assert.equal(patternProblem('*'), undefined)
  for (const slip of ['sesion-up', 'session_up', 'sessionup'])
    assert.equal(patternProblem(slip), `'${slip}' is no type of event; did you mean session-up?`)
  for (const wrong of ['', 'session', 'Session-*', '*-up', 'nothing-*'])
    assert.match(patternProblem(wrong) ?? '', /no type of event; there are controller-started/, wrong)
  assert.ok(matches(['float', 'link-*'], 'link-down'))
  assert.ok(!matches(['float', 'link-*'], 'linked'))
})
