// Backbone links on real interfaces: the MTU of the path found whoever makes it small, and a dead link noticed.
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { run } from './command.ts'
import type { Host } from './host.ts'
import { iperf, iperfServer } from './iperf.ts'
import { type Lab, sleep, until } from './lab.ts'
import type { LinkEndInit } from './link-end.ts'
import { Ping } from './ping.ts'
import type { LabProcess } from './process.ts'
import { useLab } from './suite.ts'

const OVERLAY = ['10.77.0.10', '10.77.0.11']
const ADDRESSES = [0x0a4d000a, 0x0a4d000b]
/** What a link adds to a packet: UDP, and the data channel's header and tag. */
const SEALING = 8 + 24
const WANTED = 1420

async function startEnds(hosts: readonly Host[], family: 'ip4' | 'ip6'): Promise<LabProcess[]> {
  const script = new URL('link-end.ts', import.meta.url).pathname
  return Promise.all(
    hosts.map((host, end) => {
      const init: LinkEndInit = {
        end,
        secret: 'the lab',
        here: host[family],
        there: hosts[1 - end][family],
        address: ADDRESSES[end],
        other: ADDRESSES[1 - end],
      }
      return host.spawn(`link end ${host.name} ${family}`, [process.execPath, script, JSON.stringify(init)])
    }),
  )
}

const mtuOf = (end: LabProcess): number => Number([...end.output.matchAll(/mtu (\d+) at/g)].at(-1)?.[1])
const isUp = (end: LabProcess): boolean => [...end.output.matchAll(/^(up|down) at/gm)].at(-1)?.[1] === 'up'
const expected = (pathMtu: number, ipHeader: number): number => Math.min(WANTED, pathMtu - ipHeader - SEALING)

async function untilMtu(ends: readonly LabProcess[], mtu: number, seconds: number): Promise<number> {
  return until(`both ends have found ${mtu}`, () => ends.every(end => mtuOf(end) === mtu), seconds, 0.02)
}

/** Narrows a host's cable. `silently`: the host itself keeps its MTU, and what is too long just vanishes. */
async function narrow(host: Host, mtu: number, silently: boolean): Promise<void> {
  await host.setMtu(mtu)
  if (silently) await host.ip('link', 'set', 'eth0', 'mtu', '1500')
}

/** Of the underlay, by this host's kernel. */
async function fragmentsMade(host: Host): Promise<number> {
  const counters = await host.exec('nstat', '-asz', 'IpFragCreates', 'Ip6FragCreates')
  const counts = [...counters.matchAll(/FragCreates\s+(\d+)/g)].map(([, count]) => Number(count))
  assert.equal(counts.length, 2)
  return counts[0] + counts[1]
}

for (const [family, ipHeader] of [
  ['ip4', 20],
  ['ip6', 40],
] as const) {
  describe(`a backbone link over ${family}`, () => {
    let lab: Lab
    let hosts: Host[]
    let ends: LabProcess[]

    const use = useLab(`link${family}`)
    before(async () => {
      lab = use.lab
      hosts = [await lab.host('left'), await lab.host('right')]
      ends = await startEnds(hosts, family)
      await until('the link is up', () => ends.every(isUp))
    })
    after(() => Promise.all(ends.map(end => end.stop())))

    for (const silently of [false, true]) {
      test(`finds an MTU of 1500, 1400 and 1280 ${silently ? 'that nobody tells of' : 'of the interface'}`, async () => {
        for (const mtu of [1500, 1400, 1280, 1500]) {
          const grows = mtuOf(ends[0]) < expected(mtu, ipHeader)
          await narrow(hosts[1], mtu, silently)
          const took = await untilMtu(ends, expected(mtu, ipHeader), grows ? 12 : 2.2)
          assert.ok(grows || took < 2.2, `${took} s`)
          // The longest packet crosses whole; longer ones are refused with the MTU, and the kernel then sends shorter ones.
          // (It remembers an MTU for ten minutes.)
          await hosts[0].exec('ip', 'route', 'flush', 'cache')
          const whole = String(expected(mtu, ipHeader) - 28)
          await hosts[0].exec('ping', '-c', '2', '-i', '0.1', '-W', '2', '-M', 'do', '-s', whole, OVERLAY[1])
          const long = await hosts[0].attempt(
            ['ping', '-c', '5', '-i', '0.1', '-W', '2', '-M', 'want', '-s', '1392', OVERLAY[1]],
            {},
          )
          assert.match(long.stdout, / [1-5] received/)
        }
        assert.ok(ends.every(isUp))
      })
    }

    test('TCP uses a narrow path without a fragment', async () => {
      await narrow(hosts[1], 1280, true)
      await untilMtu(ends, expected(1280, ipHeader), 2.2)
      await iperfServer(hosts[1])
      const before = await fragmentsMade(hosts[0])
      const { bytes } = await iperf(hosts[0], OVERLAY[1], { seconds: 2 })
      assert.ok(bytes > 1e6, `${bytes} bytes`)
      assert.equal(await fragmentsMade(hosts[0]), before)
      await narrow(hosts[1], 1500, true)
      await untilMtu(ends, expected(1500, ipHeader), 12)
    })

    test('a cut of one direction takes it down at both ends in less than a second, and healing brings it back', async () => {
      for (const [from, to] of [
        [0, 1],
        [1, 0],
      ]) {
        const marks = ends.map(end => end.mark())
        const ping = await Ping.start(hosts[0], OVERLAY[1])
        await ping.answered()
        await hosts[to].refuseFrom(hosts[from])
        const cutAt = Date.now()
        for (const [i, end] of ends.entries()) {
          const [, at] = await end.waitFor(/down at (\d+)/, 3, marks[i])
          assert.ok(Number(at) - cutAt < 1000, `${end.name}: ${Number(at) - cutAt} ms after the cut`)
        }
        await sleep(500)
        await hosts[to].acceptAll()
        const healedAt = Date.now()
        for (const [i, end] of ends.entries()) {
          const [, at] = await end.waitFor(/up at (\d+)/, 3, marks[i])
          assert.ok(Number(at) - healedAt < 1500, `${end.name}: ${Number(at) - healedAt} ms after healing`)
        }
        await ping.answered()
        await ping.stop()
      }
    })

    test('a pulled cable is noticed in less than a second', async () => {
      const marks = ends.map(end => end.mark())
      const pulledAt = Date.now()
      await hosts[0].cable('out')
      for (const [i, end] of ends.entries()) {
        const [, at] = await end.waitFor(/down at (\d+)/, 3, marks[i])
        assert.ok(Number(at) - pulledAt < 1000, `${end.name}: ${Number(at) - pulledAt} ms after`)
      }
      await hosts[0].cable('in')
      await until('the link is up', () => ends.every(isUp), 3)
    })
  })
}

describe('a backbone link behind a router', () => {
  const use = useLab('linkrouter')

  test('finds the MTU of the next network, whether or not the kernel has learnt of it', async () => {
    const { lab } = use
    const hosts = [await lab.host('left'), await lab.host('right')]
    const router = await lab.host('router')
    await router.exec('sysctl', '-qw', 'net.ipv4.ip_forward=1', 'net.ipv4.conf.all.send_redirects=0')
    await router.exec('sysctl', '-qw', 'net.ipv4.conf.eth0.send_redirects=0')
    for (const end of [0, 1]) {
      await router.ip('route', 'add', `${hosts[end].ip4}/32`, 'dev', 'eth0', 'mtu', 'lock', '1340')
      await hosts[end].ip('route', 'add', `${hosts[1 - end].ip4}/32`, 'via', router.ip4)
    }
    const ends = await startEnds(hosts, 'ip4')
    await until('the link is up', () => ends.every(isUp))
    await untilMtu(ends, 1340 - 20 - SEALING, 2.2)
    // The kernel here knows it now, too; that must not hold the search back when the path widens.
    await run(hosts[0].command('ping', '-c', '1', '-M', 'want', '-s', '1400', hosts[1].ip4))
    for (const end of [0, 1])
      await router.ip('route', 'replace', `${hosts[end].ip4}/32`, 'dev', 'eth0', 'mtu', 'lock', '1460')
    await untilMtu(ends, 1460 - 20 - SEALING, 12)
    await Promise.all(ends.map(end => end.stop()))
  })
})
