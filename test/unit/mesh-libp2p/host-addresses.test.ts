// Names of controllers that nobody resolves: they keep nobody waiting, neither those who ask for them nor other look-ups.
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { type HostAddress, HostAddresses } from '../../../mesh/libp2p/host-addresses.ts'

const FOUND: HostAddress[] = [{ address: '192.0.2.1', family: 4 }]

function world(t: TestContext) {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  let now = 0
  const asked: { host: string; answer: (found: HostAddress[] | undefined) => void }[] = []
  const hosts = new HostAddresses({
    now: () => now,
    lookUp: host =>
      new Promise((resolve, reject) => {
        asked.push({ host, answer: found => (found ? resolve(found) : reject(new Error('ENOTFOUND'))) })
      }),
  })
  return {
    ...{ hosts, asked },
    async pass(ms: number) {
      now += ms
      t.mock.timers.tick(ms)
      await turn()
    },
  }
}

test('a name that is being looked up is not looked up again, and who asks waits two seconds at most', async t => {
  const { hosts, asked, pass } = world(t)
  const answers = [1, 2, 3].map(() => hosts.resolve('silent.example'))
  for (let minute = 0; minute < 60; minute++) {
    answers.push(hosts.resolve('silent.example'))
    await pass(60_000)
  }
  assert.equal(asked.length, 1)
  for (const answer of answers) assert.deepEqual(await answer, [])
  asked[0].answer(FOUND)
  await turn()
  const again = hosts.resolve('silent.example')
  await pass(2000)
  assert.deepEqual(await again, FOUND)
})

test('a name that took long and was not found rests, and is as it was found last meanwhile', async t => {
  const { hosts, asked, pass } = world(t)
  const first = hosts.resolve('alpha.example')
  asked[0].answer(FOUND)
  assert.deepEqual(await first, FOUND)
  const second = hosts.resolve('alpha.example')
  await pass(20_000)
  assert.deepEqual(await second, FOUND)
  asked[1].answer(undefined)
  await turn()
  await pass(59_000)
  assert.deepEqual(await hosts.resolve('alpha.example'), FOUND)
  assert.equal(asked.length, 2)
  await pass(1000)
  const third = hosts.resolve('alpha.example')
  asked[2].answer([{ address: '192.0.2.2', family: 4 }])
  assert.deepEqual(await third, [{ address: '192.0.2.2', family: 4 }])
})

test('a name that is told not to be there at once is asked for again at once', async t => {
  const { hosts, asked } = world(t)
  for (const index of [0, 1, 2]) {
    const answer = hosts.resolve('not.example')
    asked[index].answer(undefined)
    assert.deepEqual(await answer, [])
  }
})

test('addresses are not looked up, and of names so many at a time', async t => {
  const { hosts, asked, pass } = world(t)
  assert.deepEqual(await hosts.resolve('2001:db8::1'), [{ address: '2001:db8::1', family: 6 }])
  const answers = Array.from({ length: 5000 }, (_, index) => hosts.resolve(`${index}.example`))
  await pass(2000)
  assert.equal(asked.length, 128)
  assert.equal((await Promise.all(answers)).flat().length, 0)
})
