import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { FakeService } from '../api/fake-service.ts'
import { run, Served } from './run.ts'

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

test('webhook add takes the address from a file or standard input, so that no argument has it', async () => {
  const service = new FakeService()
  const urls: string[] = []
  const { addWebhook } = service
  service.addWebhook = request => {
    urls.push(request.url)
    return addWebhook(request)
  }
  await using served = await Served.open(service)
  const { dataDir } = served
  const file = join(dataDir, 'url')
  await writeFile(file, '\ufeffhttps://hooks.example.net/one\r\n')
  const cli = (args: string[], input?: string) =>
    run(['webhook', 'add', 'chat', ...args], { dataDir, cwd: dataDir, input })
  for (const result of [
    await cli(['--url-file', file]),
    await cli(['--url-file', '-', '--secret-file', file], 'https://hooks.example.net/two\n'),
    await cli(['--url', 'https://hooks.example.net/three']),
  ]) {
    assert.equal(result.code, 0, result.stderr)
    assert.doesNotMatch(result.stdout + result.stderr, /one|two|three/)
  }
  assert.deepEqual(
    urls.map(url => url.slice('https://hooks.example.net/'.length)),
    ['one', 'two', 'three'],
  )
  await writeFile(file, `https://hooks.example.net/${'secret'.repeat(200)}`)
  const wrong: [string[], RegExp, number][] = [
    [[], /webhook add: say where by --url-file FILE, or by --url/, 2],
    [['--url', 'https://hooks.example.net/', '--url-file', file], /give one of them/, 2],
    [['--url-file', '-', '--secret-file', '-'], /cannot both come from standard input/, 2],
    [['--url-file', file], /has is longer than 1024 characters; write it as https:\/\/HOST\/PATH/, 2],
    [['--url-file', '/nowhere'], /cannot read the address from \/nowhere/, 1],
    [['--url-file', '/dev/null'], /the first line of \/dev\/null is empty; put the address there/, 1],
  ]
  for (const [args, said, status] of wrong) {
    const { code, stdout, stderr } = await cli(args)
    assert.match(stderr, /^overmesh: [^\n]+\n$/)
    assert.match(stderr, said)
    assert.doesNotMatch(stderr, /secretsecret/)
    assert.deepEqual([code, stdout], [status, ''], args.join(' '))
  }
  assert.equal(urls.length, 3)
})
