// The MTU of the ways that packets take: clients behind narrow networks, whether these say so or not, and narrow networks between
// controllers. What is too long is refused with the MTU, and TCP makes segments that fit from the start.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Controller } from './controller.ts'
import type { Host } from './host.ts'
import { iperf, iperfServer } from './iperf.ts'
import { sleep, until } from './lab.ts'
import { Mesh } from './mesh.ts'
import { OpenvpnClient } from './openvpn-client.ts'
import { useLab } from './suite.ts'

const OVERLAY_MTU = 1420
/** What a data packet adds to an overlay packet: IPv4, UDP, and the data channel's header and tag. */
const OVERHEAD = 20 + 8 + 24
const PING_HEADERS = 28
const UNDERLAYS = [1500, 1400, 1280]
/** Seconds until the way of a new session is known: probes begin after half a second and are tried for two. */
const SECONDS = 8
/** Milliseconds after which nothing is looked for any more, until the next time. */
const SETTLED = 4000

const fitting = (underlay: number): number => Math.min(OVERLAY_MTU, underlay - OVERHEAD)

/** Whether packets of so many bytes that may not be fragmented pass, and what is said if not. */
async function passes(from: Host, to: string, bytes: number): Promise<{ passed: boolean; said: string }> {
  const size = String(bytes - PING_HEADERS)
  const { stdout } = await from.attempt(['ping', '-c', '1', '-W', '1', '-M', 'do', '-s', size, to])
  return { passed: / 1 received/.test(stdout), said: stdout }
}

/** What ping prints of a router that names this MTU. */
const tells = (mtu: number): RegExp => new RegExp(`Frag needed and DF set \\(mtu = ${mtu}\\)`)

/** Waits until exactly what is too long for the way is refused, with the right MTU. */
async function untilFound(from: Host, to: string, mtu: number, seconds = SECONDS): Promise<void> {
  await until(
    `the way from ${from.name} to ${to} takes ${mtu} bytes`,
    async () => {
      // A host remembers what it was told of an address for ten minutes.
      await from.ip('route', 'flush', 'cache')
      if (!(await passes(from, to, mtu)).passed) return false
      if (mtu === OVERLAY_MTU) return true
      const { passed, said } = await passes(from, to, mtu + 1)
      return !passed && tells(mtu).test(said)
    },
    seconds,
  )
  await from.ip('route', 'flush', 'cache')
}

/** Fragments of the underlay that this host's kernel made, or put together. */
async function fragments(host: Host): Promise<number> {
  const counters = await host.exec('nstat', '-asz', 'IpFragCreates', 'IpReasmReqds')
  return [...counters.matchAll(/^Ip\w+\s+(\d+)/gm)].reduce((sum, [, count]) => sum + Number(count), 0)
}

/** TCP both ways from a client to an address; nobody in the underlay has to fragment anything. */
async function tcpFits(from: Host, to: string, hosts: readonly Host[]): Promise<void> {
  const before = await Promise.all(hosts.map(fragments))
  for (const reverse of [false, true]) {
    const { bitsPerSecond } = await iperf(from, to, { seconds: 2, reverse })
    assert.ok(bitsPerSecond > 20e6, `${bitsPerSecond / 1e6} Mbit/s ${reverse ? 'from' : 'to'} ${to}`)
  }
  assert.deepEqual(await Promise.all(hosts.map(fragments)), before)
}

describe('a client whose network is narrow', () => {
  let hub: Host
  let controller: Controller
  let wide: Host
  let far: Host
  let router: Host
  let pack: string
  let wideAddress: string
  let ownAddress: string

  const use = useLab('mtu', async lab => {
    hub = await lab.host('hub')
    controller = await Controller.start(hub)
    wide = await lab.host('wide')
    wideAddress = await (await OpenvpnClient.connect(wide, await controller.addClient('wide'))).address()
    far = await lab.host('far')
    pack = await controller.addClient('far')
    ownAddress = (await controller.status()).controller.address
    for (const host of [wide, hub]) await iperfServer(host)
  })

  for (const underlay of UNDERLAYS) {
    test(`that drops what is longer than ${underlay} bytes in silence`, async () => {
      await far.setMtu(underlay)
      const client = await OpenvpnClient.connect(far, pack)
      const address = await client.address()
      await untilFound(wide, address, fitting(underlay))
      await untilFound(hub, address, fitting(underlay))
      for (const to of [wideAddress, ownAddress]) await tcpFits(far, to, [hub, far])
      assert.equal(client.connections, 1)
      await client.stop()
    })
  }

  for (const underlay of UNDERLAYS.slice(1)) {
    test(`behind a router that says that ${underlay} bytes are the most`, async () => {
      await far.setMtu(1500)
      router ??= await use.lab.host('router')
      await router.exec('sysctl', '-qw', 'net.ipv4.ip_forward=1', 'net.ipv4.conf.all.send_redirects=0')
      await router.exec('sysctl', '-qw', 'net.ipv4.conf.eth0.send_redirects=0')
      for (const [host, other] of [
        [hub, far],
        [far, hub],
      ]) {
        await router.ip('route', 'replace', `${host.ip4}/32`, 'dev', 'eth0', 'mtu', 'lock', String(underlay))
        await host.ip('route', 'replace', `${other.ip4}/32`, 'via', router.ip4)
        await host.ip('route', 'flush', 'cache')
      }
      // It answers no probes: what the router says has to do.
      await far.exec('sysctl', '-qw', 'net.ipv4.icmp_echo_ignore_all=1')
      const client = await OpenvpnClient.connect(far, pack)
      const address = await client.address()
      const sink = await iperfServer(far)
      await iperf(wide, address, { seconds: 1 })
      // The kernel is asked once a second, and only where long packets go.
      await until(
        'the controller knows what the router says',
        async () => {
          await wide.ip('route', 'flush', 'cache')
          return tells(fitting(underlay)).test((await passes(wide, address, fitting(underlay) + 1)).said)
        },
        SECONDS,
      )
      await wide.ip('route', 'flush', 'cache')
      await tcpFits(wide, address, [hub])
      await sink.stop()
      await far.exec('sysctl', '-qw', 'net.ipv4.icmp_echo_ignore_all=0')
      await untilFound(wide, address, fitting(underlay), 15)
      await client.stop()
      for (const [host, other] of [
        [hub, far],
        [far, hub],
      ])
        await host.ip('route', 'delete', `${other.ip4}/32`)
    })
  }

  test('that becomes narrow, and wide again, while the client is connected', async () => {
    const client = await OpenvpnClient.connect(far, pack)
    const address = await client.address()
    await untilFound(wide, address, OVERLAY_MTU)
    await sleep(SETTLED)
    await far.setMtu(1400)
    await untilFound(wide, address, fitting(1400), 20)
    await sleep(SETTLED)
    await far.setMtu(1500)
    await untilFound(wide, address, OVERLAY_MTU, 30)
    assert.equal(client.connections, 1)
    await client.stop()
  })

  test('and that answers no echo request keeps the MTU that it was given', async () => {
    await far.exec('sysctl', '-qw', 'net.ipv4.icmp_echo_ignore_all=1')
    const client = await OpenvpnClient.connect(far, pack)
    const address = await client.address()
    const sink = await iperfServer(far)
    await iperf(wide, address, { seconds: 4 })
    await sink.stop()
    await far.exec('sysctl', '-qw', 'net.ipv4.icmp_echo_ignore_all=0')
    assert.equal((await passes(wide, address, OVERLAY_MTU)).passed, true)
    await client.stop()
  })
})

describe('a narrow network between two controllers', () => {
  const use = useLab('mtumesh')

  test('carries TCP between their clients both ways, whatever its MTU', async () => {
    const mesh = await Mesh.start(use.lab, ['alpha', 'beta'])
    const [alpha, beta] = mesh.controllers
    const here = await mesh.connect('here', ['alpha'])
    await iperfServer(here.host)
    const own = (await alpha.status()).controller.address
    await iperfServer(alpha.host)
    for (const underlay of UNDERLAYS) {
      await beta.host.setMtu(underlay)
      const there = await mesh.connect(`there${underlay}`, ['beta'])
      await untilFound(here.host, there.address, fitting(underlay), 20)
      for (const to of [here.address, own]) await tcpFits(there.host, to, [alpha.host, beta.host])
      await there.openvpn.stop()
    }
  })
})
