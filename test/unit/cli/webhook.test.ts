import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { FakeService } from '../api/fake-service.ts'
import { Served } from './run.ts'

test('webhook: added, listed, tried and removed', async () => {
  const service = new FakeService()
  await using served = await Served.open(service)
  const secret = join(served.dataDir, 'secret')
  await writeFile(secret, 'sign-with-this\n')
  const url = 'https://hooks.example.net/'
  const added = await served.run(
    ...['webhook', 'add', 'chat', '--url', url, '--event', 'session-*', '--secret-file', secret],
  )
  assert.match(added.stdout, /^chat: session-\* go to https:\/\/hooks\.example\.net\/\.\.\., signed/)
  assert.match((await served.run('webhook', 'list')).stdout, /^WEBHOOK +URL .*\nchat +https/)
  assert.equal(JSON.parse((await served.run('webhook', 'list', '--json')).stdout)[0].signed, true)
  assert.match((await served.run('webhook', 'test', 'chat')).stdout, /^chat took the test: 204 after 3 ms\n$/)
  service.testWebhook = async () =>
    ({ delivered: false, status: 500, problem: 'answered 500', ms: 1 }) as never
  const failed = await served.run('webhook', 'test', 'chat')
  assert.deepEqual(
    [failed.code, failed.stderr],
    [1, 'overmesh: chat did not take the test: it answered 500\n'],
  )
  const document = await served.run('webhook', 'test', 'chat', '--json')
  assert.deepEqual([document.code, document.stderr], [failed.code, failed.stderr])
  assert.equal(JSON.parse(document.stdout).problem, 'answered 500')
  assert.match((await served.run('webhook', 'remove', 'chat')).stdout, /^chat is told nothing any more/)
  const wrong = await served.run('webhook', 'add', 'chat', '--url', url, '--event', 'nothing')
  assert.equal(wrong.code, 2)
  assert.match(wrong.stderr, /^overmesh: --event: 'nothing' is no type of event/)
})
