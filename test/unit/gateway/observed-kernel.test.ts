import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ObservedKernel } from '../../../node/gateway/observed-kernel.ts'
import { FakeKernel, FakeNews, ok } from './fake-kernel.ts'

const ROUTES = ['-4', '-json', 'route', 'show', 'table', 'all']
const CHAINS = ['-j', 'list', 'chains']

/** A kernel that counts what it is asked, news that are there when said so, and a clock. */
function observed() {
  const kernel = new FakeKernel()
  const asked: string[] = []
  let answers = 0
  kernel.answer = (program, args) => {
    asked.push(`${program} ${args.join(' ')}`)
    return ok(`answer ${++answers}`)
  }
  const news = new FakeNews()
  const clock = { now: 0 }
  const subject = new ObservedKernel(kernel, () => clock.now)
  subject.observe(news)
  return { kernel, asked, news, clock, subject }
}

test('a question is asked once, until there are news', async () => {
  const { asked, news, subject } = observed()
  const first = await subject.run('ip', ROUTES)
  assert.equal(await subject.run('ip', ROUTES), first)
  await subject.run('nft', CHAINS)
  await subject.run('nft', CHAINS)
  assert.equal(asked.length, 2)
  assert.equal(subject.hasNews(), false)
  news.are = true
  // All answers are old, whatever the news are about.
  assert.notEqual(await subject.run('ip', ROUTES), first)
  await subject.run('nft', CHAINS)
  assert.equal(asked.length, 4)
  news.are = true
  assert.equal(subject.hasNews(), true)
  assert.equal(subject.hasNews(), false)
  await subject.run('ip', ROUTES)
  assert.equal(asked.length, 5)
})

test('what comes while it is asked is news to the next question', async () => {
  const { asked, kernel, news, subject } = observed()
  const answer = kernel.answer
  kernel.answer = (program, args) => {
    news.are = asked.length === 0
    return answer(program, args)
  }
  const first = await subject.run('ip', ROUTES)
  assert.notEqual(await subject.run('ip', ROUTES), first)
  assert.equal(asked.length, 2)
})

test('a command that changes something is run each time, and makes all answers old', async () => {
  const { asked, subject } = observed()
  await subject.run('ip', ROUTES)
  for (const args of [
    ['-force', '-batch', '-'],
    ['-force', '-batch', '-'],
  ])
    await subject.run('ip', args, 'route add 192.0.2.0/24 dev lo\n')
  await subject.run('ip', ROUTES)
  assert.deepEqual(asked, [
    `ip ${ROUTES.join(' ')}`,
    'ip -force -batch -',
    'ip -force -batch -',
    `ip ${ROUTES.join(' ')}`,
  ])
})

test('an answer is trusted for five minutes; one that failed or is very long not at all', async () => {
  const { asked, kernel, clock, subject } = observed()
  await subject.run('ip', ROUTES)
  clock.now = 5 * 60_000 - 1
  await subject.run('ip', ROUTES)
  assert.equal(asked.length, 1)
  clock.now = 5 * 60_000
  await subject.run('ip', ROUTES)
  assert.equal(asked.length, 2)
  for (const answer of [{ ...ok(), code: 1 }, ok('x'.repeat(2 ** 20 + 1))]) {
    let runs = 0
    kernel.answer = () => {
      runs++
      return answer
    }
    await subject.run('nft', CHAINS)
    await subject.run('nft', CHAINS)
    assert.equal(runs, 2)
  }
})

test('without news each question is asked', async () => {
  const { asked, news, subject } = observed()
  await subject.run('ip', ROUTES)
  subject.close()
  assert.ok(news.closed)
  assert.equal(subject.hasNews(), false)
  await subject.run('ip', ROUTES)
  await subject.run('ip', ROUTES)
  assert.equal(asked.length, 3)
})
