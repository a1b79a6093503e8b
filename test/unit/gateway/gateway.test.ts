import assert from 'node:assert/strict'
import { statSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { DataDirectory } from '../../../node/data-directory.ts'
import { Gateway, MAX_PREFIXES } from '../../../node/gateway/gateway.ts'
import type { CommandResult } from '../../../node/gateway/kernel.ts'
import { rulesetOf } from '../../../node/gateway/ruleset.ts'
import { cidr, description, FakeKernel, FakeNews, IP_FORWARD, ok, start, until } from './fake-kernel.ts'

test('nothing is made before the first description, and everything is undone', async t => {
  const kernel = new FakeKernel()
  const [gateway, directory] = await start(t, kernel)
  await sleep(20)
  assert.deepEqual(kernel.done, [])
  assert.equal(gateway.isUp, false)
  gateway.update(description())
  await until(() => gateway.isUp)
  assert.equal(kernel.files.get(IP_FORWARD), '1')
  assert.equal(kernel.tables.size, 1)
  const file = join(directory, 'run/gateway.json')
  assert.equal(statSync(file).mode & 0o777, 0o600)
  await gateway.stop()
  assert.equal(gateway.isUp, false)
  assert.equal(kernel.files.get(IP_FORWARD), '0')
  assert.equal(kernel.tables.size, 0)
  assert.throws(() => statSync(file), { code: 'ENOENT' })
})

test('forwarding that was on stays on, and is left alone where nothing is forwarded', async t => {
  const kernel = new FakeKernel()
  kernel.files.set(IP_FORWARD, '1')
  const [first] = await start(t, kernel)
  first.update(description())
  await until(() => first.isUp)
  await first.stop()
  assert.equal(kernel.files.get(IP_FORWARD), '1')

  kernel.files.set(IP_FORWARD, '0')
  const [second] = await start(t, kernel)
  second.update(description({ forwarded: [] }))
  await until(() => second.isUp)
  assert.equal(kernel.files.get(IP_FORWARD), '0')
  second.update(description())
  await until(() => kernel.files.get(IP_FORWARD) === '1')
  second.update(description({ forwarded: [] }))
  await until(() => kernel.files.get(IP_FORWARD) === '0')
})

test('forwarding stays on where others came meanwhile that forward too', async t => {
  const docker = { family: 'ip', table: 'filter', name: 'FORWARD', hook: 'forward', policy: 'accept' }
  const nat = { family: 'ip', table: 'nat', name: 'POSTROUTING', hook: 'postrouting', policy: 'accept' }
  for (const [before, after, left] of [
    [[docker], [docker], '0'],
    [[docker], [docker, nat], '1'],
    [[], [nat], '1'],
    [[docker], [], '0'],
  ] as const) {
    const kernel = new FakeKernel()
    kernel.foreign = [...before]
    const [gateway, directory] = await start(t, kernel)
    gateway.update(description())
    await until(() => gateway.isUp)
    kernel.foreign = [...after]
    // Also where a crash lies between.
    await Gateway.cleanUp({ directory: new DataDirectory(directory), id: 'alpha', kernel })
    assert.equal(kernel.files.get(IP_FORWARD), left)
  }
})

test('what went with the interface is made again as soon as that is back', async t => {
  const kernel = new FakeKernel()
  const [gateway] = await start(t, kernel)
  const wanted = description({ kernelRoutes: [cidr('192.168.7.0/24')] })
  gateway.interfaceChanged()
  gateway.update(wanted)
  await gateway.settled()
  const routed = (): number => kernel.done.filter(each => each.includes('192.168.7.0/24')).length
  const before = routed()
  assert.ok(before > 0)
  gateway.update(wanted)
  await gateway.settled()
  assert.equal(routed(), before, 'it is as wanted')
  gateway.interfaceChanged()
  await gateway.settled()
  assert.equal(routed(), 2 * before)
})

test('one whose interface is not there by its name says so, forwards nothing, and goes on once it is back', async t => {
  const kernel = new FakeKernel()
  const [gateway] = await start(t, kernel)
  const file = '/proc/sys/net/ipv4/conf/overmesh0/forwarding'
  kernel.files.delete(file)
  gateway.update(description())
  await gateway.settled()
  assert.equal(gateway.isUp, false)
  assert.match(gateway.problems().join(), /no gateway.*there is no interface overmesh0/)
  assert.equal(kernel.tables.size, 1, 'what comes is closed before')
  assert.equal(kernel.files.get(IP_FORWARD), '0')
  kernel.files.set(file, '1')
  gateway.interfaceChanged()
  await gateway.settled()
  assert.equal(gateway.isUp, true)
  assert.deepEqual(gateway.problems(), [])
  kernel.files.delete(file)
  gateway.interfaceChanged()
  await gateway.settled()
  assert.equal(gateway.isUp, false)
})

test('an interface that was renamed is no other: nothing passes by it', () => {
  const { text } = rulesetOf('overmesh-x', description({ tunIndex: 7 }), [])
  const chains = text.split(/^ {2}chain /m).map(each => each.split('\n').map(line => line.trim()))
  const [input, forward] = ['input', 'forward'].map(name => chains.find(([first]) => first === `${name} {`))
  assert.equal(input?.[2], 'iif != 7 iifname != "overmesh0" accept')
  assert.deepEqual(forward?.slice(2, 4), [
    'iif != 7 iifname != "overmesh0" oif != 7 oifname != "overmesh0" accept',
    'iifname != "overmesh0" oifname != "overmesh0" counter drop',
  ])
})

test('what could not be removed is tried again at the next start', async t => {
  const kernel = new FakeKernel()
  const [first, directory] = await start(t, kernel)
  first.update(description())
  await until(() => first.isUp)
  kernel.answer = program =>
    program === 'nft' ? { code: 1, stdout: '', stderr: 'no', missing: false } : undefined
  await first.stop()
  const [second] = await start(t, kernel, directory)
  assert.match(second.problems()[0], /rules of an earlier start could not be removed: nft failed/)
  await second.stop()
  kernel.answer = () => undefined
  assert.equal(kernel.tables.size, 1)
  await start(t, kernel, directory)
  assert.equal(kernel.tables.size, 0)
})

test("the state of another boot is not this one's, and damage is no reason to fail", async t => {
  const kernel = new FakeKernel()
  const [gateway, directory] = await start(t, kernel)
  gateway.update(description())
  await until(() => gateway.isUp)
  const file = join(directory, 'run/gateway.json')
  const traces = await readFile(file, 'utf8')
  await gateway.stop()
  for (const [text, removed] of [
    [traces, true],
    [traces.replace('boot-1', 'boot-0'), false],
    ['{"version":1,"table":"filter"}', false],
    ['', false],
  ] as const) {
    await writeFile(file, text)
    kernel.files.set(IP_FORWARD, '1')
    kernel.done.length = 0
    const [next] = await start(t, kernel, directory)
    assert.equal(
      kernel.done.some(each => each.includes('delete table inet overmesh-')),
      removed,
      text,
    )
    assert.deepEqual(next.problems(), [])
    await next.stop()
    assert.equal(kernel.files.get(IP_FORWARD), removed ? '0' : '1', text)
  }
})

test('a controller that is no gateway this time clears up after the last one', async t => {
  const kernel = new FakeKernel()
  const [gateway, directory] = await start(t, kernel)
  gateway.update(description())
  await until(() => gateway.isUp)
  await Gateway.cleanUp({ directory: new DataDirectory(directory), id: 'alpha', kernel })
  assert.equal(kernel.tables.size, 0)
  assert.equal(kernel.files.get(IP_FORWARD), '0')
})

test('many descriptions at once make few changes, and the last one counts', async t => {
  const kernel = new FakeKernel()
  const [gateway] = await start(t, kernel)
  for (let i = 0; i < 200; i++) {
    gateway.update(description({ forwarded: [cidr(`192.168.${i}.0/24`)] }))
    if (i % 50 === 0) await sleep(2)
  }
  await until(() => kernel.rules.at(-1)?.includes('192.168.199.0-192.168.199.255') === true)
  assert.ok(kernel.rules.length <= 10, `${kernel.rules.length} rulesets`)
  const count = kernel.done.length
  gateway.update(description({ forwarded: [cidr('192.168.199.0/24')] }))
  await sleep(30)
  assert.equal(kernel.done.length, count, 'the same again changes nothing')
})

test('says what lacks, what for and what to do; and recovers', async t => {
  const missing: CommandResult = { code: null, stdout: '', stderr: 'spawn nft ENOENT', missing: true }
  const failed = (stderr: string): CommandResult => ({ code: 1, stdout: '', stderr, missing: false })
  const kernel = new FakeKernel()
  const [gateway] = await start(t, kernel)
  let count = 0
  const problem = async (): Promise<string> => {
    gateway.update(description({ forwarded: [cidr(`192.168.${++count}.0/24`)] }))
    await until(() => gateway.problems().length > 0)
    assert.equal(gateway.isUp, false)
    const [line] = gateway.problems()
    assert.match(line, /^this controller is no gateway between the overlay and its networks: /)
    kernel.answer = () => undefined
    kernel.refuse = undefined
    gateway.update(description({ forwarded: [cidr(`192.168.${++count}.0/24`)] }))
    await until(() => gateway.isUp && gateway.problems().length === 0)
    gateway.update(description({ forwarded: [] }))
    await until(() => kernel.files.get(IP_FORWARD) === '0')
    return line
  }
  kernel.answer = program => (program === 'nft' ? missing : undefined)
  assert.match(
    await problem(),
    /nft is not there, needed for the rules for forwarding; apt-get install nftables$/,
  )
  kernel.answer = program => (program === 'ip' ? missing : undefined)
  assert.match(await problem(), /ip is not there, needed for routes .*; apt-get install iproute2$/)
  kernel.answer = program => (program === 'nft' ? failed('Error: Operation not permitted\nmore') : undefined)
  assert.match(await problem(), /\("Error: Operation not permitted"\); run as root or with CAP_NET_ADMIN$/)
  kernel.answer = (_program, args) => (args.includes('chains') ? ok('no JSON') : undefined)
  assert.match(await problem(), /nft answered what is no JSON/)
  kernel.refuse = 'EROFS'
  assert.match(await problem(), /\/proc\/sys is read-only\).*--sysctl net\.ipv4\.ip_forward=1$/)
  kernel.refuse = 'EACCES'
  assert.match(await problem(), /\(EACCES\); on the machine: sysctl -w net\.ipv4\.ip_forward=1/)
})

test('routes that ip refuses are a problem, not the end of the gateway', async t => {
  const kernel = new FakeKernel()
  kernel.answer = (_program, args) =>
    args.includes('-batch')
      ? {
          code: 1,
          stdout: '',
          stderr: 'RTNETLINK answers: Invalid argument\nCommand failed -:1\n',
          missing: false,
        }
      : undefined
  const [gateway] = await start(t, kernel)
  gateway.update(description({ kernelRoutes: [cidr('127.0.0.0/8')] }))
  await until(() => gateway.isUp)
  assert.deepEqual(gateway.problems(), [
    'some routes into the overlay could not be set: ip says "RTNETLINK answers: Invalid argument"',
  ])
})

test('takes no more prefixes than it can, and no name that is none', async t => {
  const kernel = new FakeKernel()
  const [gateway] = await start(t, kernel)
  gateway.update(
    description({ masqueraded: Array.from({ length: MAX_PREFIXES + 1 }, () => cidr('192.168.5.0/24')) }),
  )
  await until(() => gateway.problems().length > 0)
  assert.match(gateway.problems()[0], /4097 prefixes are more than the 4096/)
  gateway.update(description({ tunName: 'x" accept; #' }))
  await until(() => /no interface can be named/.test(gateway.problems()[0]))
  assert.deepEqual(kernel.done, [])
})

test('a strict reverse path filter is made loose on the interface itself, and nowhere else', async t => {
  const kernel = new FakeKernel()
  const conf = '/proc/sys/net/ipv4/conf'
  kernel.files.set(`${conf}/all/rp_filter`, '1')
  kernel.files.set(`${conf}/overmesh0/rp_filter`, '0')
  const [gateway] = await start(t, kernel)
  gateway.update(description())
  await until(() => gateway.isUp)
  assert.equal(kernel.files.get(`${conf}/overmesh0/rp_filter`), '2')
  assert.equal(kernel.files.get(`${conf}/all/rp_filter`), '1')
})

test('whether the machine has a way of its own to the Internet is seen in its routes', async t => {
  const kernel = new FakeKernel()
  const [gateway] = await start(t, kernel)
  let routes: object[] = []
  let count = 0
  kernel.answer = (_program, args) =>
    args.includes('-4') && args.includes('show') ? ok(JSON.stringify(routes)) : undefined
  for (const [has, ...present] of [
    [false, { dst: '203.0.113.0/24', dev: 'eth0', protocol: '2' }],
    [true, { dst: 'default', gateway: '192.0.2.1', dev: 'eth0' }],
    [true, { dst: 'default', nexthops: [{ gateway: '192.0.2.1', dev: 'eth0' }] }],
    [true, { dst: '128.0.0.0/1', dev: 'ppp0' }],
    [true, { dst: 'default', gateway: '192.0.2.1', dev: 'eth0', table: '77' }],
    [false, { dst: '224.0.0.0/4', dev: 'eth0' }],
    [false, { type: '7', dst: 'default' }],
    [false, { type: '2', dst: '10.0.0.0/8', dev: 'lo', table: '255' }],
    [false, { dst: 'default', dev: 'overmesh0' }],
  ] as const) {
    routes = [...present]
    gateway.update(description({ kernelRoutes: [cidr(`192.168.${++count}.0/24`)] }))
    await gateway.settled()
    assert.equal(gateway.hasExit, has, JSON.stringify(routes))
  }
})

test('routes of other tables than the main one are no reason not to set ours', async t => {
  const kernel = new FakeKernel()
  const [gateway] = await start(t, kernel)
  const other = { dst: '192.168.5.0/24', dev: 'eth1', table: '77' }
  kernel.answer = (_program, args) => (args.includes('show') ? ok(JSON.stringify([other])) : undefined)
  gateway.update(description({ kernelRoutes: [cidr('192.168.5.0/24')] }))
  await gateway.settled()
  assert.deepEqual(gateway.problems(), [])
})

test('who waits for what was described is not kept waiting by what is described later', async t => {
  const kernel = new FakeKernel()
  const [gateway] = await start(t, kernel)
  const open = (n: number) => gateway.update(description({ forwarded: [cidr(`192.168.${n}.0/24`)] }))
  await gateway.settled()
  let last = 1
  open(last)
  // Each turn finds another description than the one that it made.
  kernel.answer = (program, args) => {
    if (program === 'nft' && args[0] === '-f' && last < 200) open(++last)
    return undefined
  }
  await gateway.settled()
  assert.ok(last < 10, `${last} descriptions`)
  assert.ok(kernel.rules.length > 0)
})

test('where the kernel tells its news it is looked at when there are some, and else asked nothing', async t => {
  const kernel = new FakeKernel()
  const news = new FakeNews()
  const [gateway] = await start(t, kernel, undefined, 'alpha', { openNews: () => news, newsMs: 5 })
  let questions = 0
  kernel.answer = (_, args) => {
    if (args.includes('show') || args.includes('chains')) questions++
    return undefined
  }
  gateway.update(description())
  await gateway.settled()
  const before = questions
  assert.ok(before > 0)
  await sleep(100)
  assert.equal(questions, before, 'nothing changed')
  kernel.tables.clear()
  news.are = true
  await until(() => kernel.tables.size === 1)
  assert.ok(questions > before)
})

test('a look without news asks the kernel for its files, not for its routes and chains', async t => {
  const kernel = new FakeKernel()
  const news = new FakeNews()
  const [gateway] = await start(t, kernel, undefined, 'alpha', { openNews: () => news, lookMs: 10 })
  const forwarding = async (): Promise<void> => {
    kernel.files.set(IP_FORWARD, '0')
    await until(() => kernel.files.get(IP_FORWARD) === '1')
  }
  gateway.update(description())
  await gateway.settled()
  // What it made itself makes the answers old once.
  await forwarding()
  let questions = 0
  kernel.answer = () => {
    questions++
    return undefined
  }
  await forwarding()
  assert.equal(questions, 0)
  await gateway.stop()
  assert.ok(news.closed)
})

test('an answer that is cut short is asked for once more, and not kept', async t => {
  const kernel = new FakeKernel()
  const whole = kernel.answer
  let cut = 0
  const cutShort = (times: number, what: string): void => {
    cut = times
    kernel.answer = (program, args) => {
      if (!args.includes(what) || cut === 0) return whole(program, args)
      cut--
      return ok('{"nftables": [')
    }
  }
  const news = new FakeNews()
  const [gateway] = await start(t, kernel, undefined, 'alpha', { openNews: () => news, newsMs: 5 })
  for (const what of ['chains', 'show']) {
    cutShort(1, what)
    gateway.update(description({ masqueraded: what === 'show' ? [cidr('192.0.2.0/24')] : [] }))
    await gateway.settled()
    assert.equal(gateway.isUp, true)
    assert.deepEqual(gateway.problems(), [])
  }
  cutShort(2, 'chains')
  news.are = true
  await until(() => !gateway.isUp)
  assert.match(gateway.problems()[0], /nft answered what is no JSON/)
  news.are = true
  await until(() => gateway.isUp)
})
