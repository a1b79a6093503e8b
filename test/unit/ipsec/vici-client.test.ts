import assert from 'node:assert/strict'
import { afterEach, beforeEach, test } from 'node:test'
import { ViciClient } from '../../../node/ipsec/vici/client.ts'
import { FakeDaemon, packet } from './fake-daemon.ts'

let daemon: FakeDaemon
let client: ViciClient
beforeEach(async () => {
  daemon = await FakeDaemon.start()
  client = await ViciClient.connect(daemon.path, 300)
})
afterEach(async () => {
  client.close()
  await daemon.stop()
})

test('commands are answered in the order in which they were asked', async () => {
  daemon.answer = command => ({ echo: command })
  const answers = await Promise.all(['version', 'stats', 'get-conns'].map(each => client.request(each)))
  assert.deepEqual(
    answers.map(answer => answer.echo),
    ['version', 'stats', 'get-conns'],
  )
})

test('a command that failed says why, and one that is not known is told apart', async () => {
  daemon.answer = command =>
    command === 'load-conn' ? { success: 'no', errmsg: 'invalid value' } : 'unknown'
  await assert.rejects(client.request('load-conn'), { code: 'refused', message: 'invalid value' })
  await assert.rejects(client.request('nothing'), { code: 'unknown' })
  await assert.rejects(client.register('no-such-event'), { code: 'unknown' })
  daemon.answer = () => ({})
  await client.request('version')
})

test('streamed answers are collected, events in between are not among them', async () => {
  daemon.streams = command =>
    command === 'list-sas'
      ? [
          ['list-sa', { a: { uniqueid: '1' } }],
          ['child-updown', { up: 'yes' }],
          ['list-sa', { b: { uniqueid: '2' } }],
        ]
      : []
  const events: string[] = []
  client.onEvent = name => events.push(name)
  await client.register('child-updown')
  const sas = await client.stream('list-sas', 'list-sa')
  assert.equal(JSON.stringify(sas), '[{"a":{"uniqueid":"1"}},{"b":{"uniqueid":"2"}}]')
  daemon.event('child-updown', { up: 'no' })
  await client.request('version')
  assert.deepEqual(events, ['child-updown', 'child-updown'])
})

test('two streams of the same event at once get each its own, and both all', async () => {
  daemon.strict = true
  let turn = 0
  daemon.streams = () => {
    turn++
    return [['list-sa', { [`turn-${turn}`]: {} }]]
  }
  const [first, second] = await Promise.all([1, 2].map(() => client.stream('list-sas', 'list-sa')))
  assert.equal(JSON.stringify(first), '[{"turn-1":{}}]')
  assert.equal(JSON.stringify(second), '[{"turn-2":{}}]')
})

test('an answer that is late ends the connection, with all that waits', async () => {
  daemon.answer = () => 'silence'
  const closed = new Promise<Error>(resolve => {
    client.onClose = resolve
  })
  const late = client.request('initiate')
  const behind = client.request('version')
  await assert.rejects(late, { code: 'timeout', message: /initiate: no answer in 0.3 s/ })
  await assert.rejects(behind, { code: 'timeout' })
  assert.match((await closed).message, /no answer/)
  await assert.rejects(client.request('version'), { code: 'timeout' })
})

test('a daemon that goes away, or talks nonsense, ends the connection', async () => {
  daemon.answer = () => 'silence'
  const waiting = client.request('version')
  daemon.disconnect()
  await assert.rejects(waiting, { code: 'closed' })

  for (const nonsense of [
    Buffer.from([255, 255, 255, 255]),
    packet(0, 'a'),
    packet(1),
    Buffer.from([0, 0, 0, 1, 9]),
  ]) {
    const other = await ViciClient.connect(daemon.path, 300)
    const reason = new Promise<{ code: string }>(resolve => {
      other.onClose = resolve
    })
    daemon.raw(nonsense)
    assert.equal((await reason).code, 'malformed')
  }
})

test('what waits has a limit', async () => {
  daemon.answer = () => 'silence'
  const asked = Array.from({ length: 1026 }, () => client.request('version'))
  await assert.rejects(asked.at(-1)!, { code: 'busy' })
  client.close()
  for (const each of await Promise.allSettled(asked)) assert.equal(each.status, 'rejected')
})

test('connecting fails where nobody listens', async () => {
  await assert.rejects(ViciClient.connect(`${daemon.path}.none`), { code: 'closed' })
})
