import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { request } from 'node:http'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, test } from 'node:test'
import { MAX_QUEUED_EVENTS } from '../../../node/api/event-feed.ts'
import { RemoteController } from '../../../node/api/remote.ts'
import { type ApiServer, startApi } from '../../../node/api/server.ts'
import { apiSocketPath } from '../../../node/api/socket.ts'
import type { Event } from '../../../node/service.ts'
import type { ControllerEntry } from '../../../node/service-membership.ts'
import { FakeService, PACK_TEXT } from './fake-service.ts'

let directory: string
let service: FakeService
let api: ApiServer
let remote: RemoteController
beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'overmesh-remote-'))
  service = new FakeService('web')
  api = await startApi({ service, socketPath: apiSocketPath(directory) })
  remote = new RemoteController(apiSocketPath(directory))
})
afterEach(async () => {
  await api.close()
  rmSync(directory, { recursive: true })
})

test('is the same service on the other side of the socket', async () => {
  assert.deepEqual(await remote.status(), await service.status())
  assert.deepEqual(await remote.clients(), await service.clients())
  assert.deepEqual(await remote.records('client'), await service.records('client'))
  const pack = await remote.addClient({ name: 'db', tags: { site: 'lab' }, subnets: ['10.5.0.0/24'] })
  assert.equal(Buffer.from(pack.content).toString(), PACK_TEXT)
  assert.deepEqual(pack.client, await service.client('db'))
  assert.equal((await remote.disableClient('db', 'lost')).enabled, false)
  assert.equal((await remote.enableClient('db')).enabled, true)
  assert.equal((await remote.revokeClient('db')).revoked, true)
  assert.deepEqual(await remote.kickClient('db'), { kicked: false })
  assert.equal((await remote.rekeyClient('web', 30)).fileName, 'web.ovpn')
  assert.deepEqual(
    (await remote.packClient('web', 'zip')).content,
    (await service.packClient('web', 'zip')).content,
  )
  assert.deepEqual(
    service.calls.filter(([name]) => name !== 'addClient' && name !== 'packClient'),
    [
      ['disableClient', 'db', 'lost'],
      ['revokeClient', 'db', undefined],
      ['rekeyClient', 'web', 30],
    ],
  )
})

test('membership goes over the socket as it is', async () => {
  service.controllers = async all => [entry('alpha'), ...(all ? [entry('gone')] : [])]
  assert.deepEqual(await remote.invite(60), await service.invite(60))
  assert.deepEqual(await remote.invite(), await service.invite())
  assert.deepEqual(await remote.controllers(), [entry('alpha')])
  assert.deepEqual(await remote.controllers(true), [entry('alpha'), entry('gone')])
  assert.deepEqual(await remote.removeController('gone'), await service.removeController('gone'))
  assert.deepEqual(await remote.leave(), await service.leave())
  const [invite, remove, leave] = [['invite', 60], ['removeController', 'gone'], ['leave']]
  const standard = ['invite', 3600]
  assert.deepEqual(service.calls, [invite, invite, standard, standard, remove, remove, leave, leave])
  for (const ttlSeconds of [0, 1.5, 30 * 86_400 + 1]) {
    await assert.rejects(remote.invite(ttlSeconds), { code: 'invalid' })
  }
})

function entry(name: string): ControllerEntry {
  return {
    id: name,
    name,
    self: false,
    address: '10.77.0.2',
    public: ['192.0.2.1:1194'],
    mesh: [],
    joinedAt: '2026-01-02T03:04:05.678Z',
    up: true,
    behind: 0,
    draining: false,
    holdsRootKey: false,
    version: '',
    removedAt: null,
    removedBy: null,
  }
}

test('refusals arrive as they were thrown', async () => {
  await assert.rejects(remote.client('nobody'), {
    name: 'ServiceError',
    code: 'not-found',
    message: 'there is no client nobody; see overmesh client list',
  })
  await assert.rejects(remote.addClient({ name: 'web' }), { code: 'exists' })
})

test('a controller that dies before it answers may have done what was asked, and that is said', async t => {
  const path = join(directory, 'dying.sock')
  const dying = createServer(socket => socket.once('data', () => socket.destroy()))
  await once(dying.listen(path), 'listening')
  t.after(() => dying.close())
  const asked = new RemoteController(path)
  await assert.rejects(asked.addClient({ name: 'new' }), {
    code: 'failed',
    message:
      /^the controller ended the connection \(.*\); what was asked may be done: look before you try again$/,
  })
  await assert.rejects(asked.clients(), { code: 'failed', message: /\); try again$/ })
  const nobody = new RemoteController(join(directory, 'nobody.sock'))
  await assert.rejects(nobody.addClient({ name: 'new' }), { code: 'failed', message: /\); try again$/ })
})

test('a feed has the backlog and then every event once, in order', async () => {
  for (let i = 0; i < 5; i++) service.emit('past')
  const stop = new AbortController()
  const seen: number[] = []
  const done = remote.feed(
    event => {
      seen.push(event.seq)
      if (event.seq === 3) for (let i = 0; i < 100; i++) service.emit('new')
      if (event.seq === 105) stop.abort()
    },
    { backlog: 3, signal: stop.signal },
  )
  await done
  assert.deepEqual(
    seen,
    Array.from({ length: 103 }, (_, index) => index + 3),
  )
})

test('unsubscribes when the follower goes', async () => {
  const first = Promise.withResolvers<Event>()
  const stop = remote.follow(first.resolve)
  while (service.followers === 0) await new Promise(resolve => setTimeout(resolve, 5))
  service.emit('client.added', { client: 'web' })
  assert.deepEqual(await first.promise, service.past[0])
  stop()
  while (service.followers > 0) await new Promise(resolve => setTimeout(resolve, 5))
})

test('a follower that does not read is cut off and told, and the queue stays bounded', async () => {
  const stalled = request({ socketPath: apiSocketPath(directory), path: '/v1/events/feed' })
  stalled.end()
  const [response] = await once(stalled, 'response')
  // Far more than the buffers between the two hold.
  for (let i = 0; i < 20_000 && service.followers > 0; i++) {
    service.emit('noise', { text: 'x'.repeat(1000) })
    if (i % 100 === 0) await new Promise(resolve => setImmediate(resolve))
  }
  assert.equal(service.followers, 0, 'it is still subscribed')
  let text = ''
  for await (const chunk of response.setEncoding('utf8')) text += chunk
  const lines = text.trimEnd().split('\n')
  assert.match(JSON.parse(lines.at(-1)!).message, /cut off: more than 1024 events/)
  assert.equal(JSON.parse(lines.at(-1)!).type, 'feed.end')
  assert.equal(MAX_QUEUED_EVENTS, 1024)
})

test('a feed ends with the reason when the controller stops', async () => {
  const feed = remote.feed(() => {}, { signal: new AbortController().signal })
  while (service.followers === 0) await new Promise(resolve => setTimeout(resolve, 5))
  await Promise.all([api.close(), assert.rejects(feed, { message: 'the controller stops' })])
  api = await startApi({ service, socketPath: apiSocketPath(directory) })
})
