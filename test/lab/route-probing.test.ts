// Probing real addresses, by both kinds of sockets: what is gone is noticed within the time that flows are given to move.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { WITHOUT_ROOT } from './controller.ts'
import type { Host } from './host.ts'
import { sleep } from './lab.ts'
import type { ProbingEndInit } from './probing-end.ts'
import type { LabProcess } from './process.ts'
import { useLab } from './suite.ts'

/** Seconds until a route that is gone fails, with time for a busy machine. */
const NOTICED = 1.6
const SECOND_ADDRESS = '192.0.2.201'
const NOWHERE = '192.0.2.250'
const SECOND_ADDRESS6 = '2001:db8::201'

let here: Host
let there: Host
useLab('probing', async lab => {
  here = await lab.host('here')
  there = await lab.host('there')
  await here.ip('address', 'add', `${SECOND_ADDRESS}/24`, 'dev', 'eth0')
  // Deprecated, since of several addresses in one network the kernel would choose the newest for what names no source.
  const deprecated = ['nodad', 'preferred_lft', '0']
  await here.ip('address', 'add', `${SECOND_ADDRESS6}/64`, 'dev', 'eth0', ...deprecated)
})

function probe(routes: ProbingEndInit['routes'], under: string[] = []): Promise<LabProcess> {
  const script = new URL('probing-end.ts', import.meta.url).pathname
  return here.spawn('probing', [...under, process.execPath, script, JSON.stringify({ routes })])
}

/** With where the kernel lists such sockets. */
for (const [kind, groups, table] of [
  ['raw', '1 0', '/proc/net/raw'],
  ['datagram', '0 2147483647', '/proc/net/icmp'],
] as const) {
  test(`by ${kind} sockets: a host that is gone is noticed, and one that is back is trusted again after a while`, async () => {
    await here.exec('sh', '-c', `echo ${groups} > /proc/sys/net/ipv4/ping_group_range`)
    const probing = await probe([
      { id: 'any', address: there.ip4 },
      { id: 'bound', address: there.ip4, source: SECOND_ADDRESS },
      { id: 'nowhere', address: NOWHERE },
    ])
    await probing.waitFor(/failing \["nowhere"\]/, NOTICED + 1)
    const sockets = (await here.exec('cat', table)).trim().split('\n').slice(1)
    assert.equal(sockets.length, 2, 'one for each source')
    const before = probing.mark()
    const pulledAt = Date.now()
    await there.cable('out')
    const [, at] = await probing.waitFor(/failing \["any","bound","nowhere"\] at (\d+)/, 5, before)
    assert.ok(Number(at) - pulledAt < NOTICED * 1000, `${Number(at) - pulledAt} ms`)
    const after = probing.mark()
    const backAt = Date.now()
    await there.cable('in')
    const [, goodAt] = await probing.waitFor(/failing \["nowhere"\] at (\d+)/, 15, after)
    assert.ok(Number(goodAt) - backAt >= 5000)

    // Only what comes from the one source is refused.
    await there.exec('nft', 'add table inet lab')
    await there.exec('nft', 'add chain inet lab input { type filter hook input priority 0; }')
    const refused = probing.mark()
    await there.exec('nft', `add rule inet lab input ip saddr ${SECOND_ADDRESS} drop`)
    await probing.waitFor(/failing \["bound","nowhere"\]/, NOTICED + 1, refused)
    await there.exec('nft', 'delete table inet lab')
    await probing.stop()
  })
}

for (const [kind, groups, table] of [
  ['raw', '1 0', '/proc/net/raw6'],
  ['datagram', '0 2147483647', '/proc/net/icmp6'],
] as const) {
  test(`IPv6 by ${kind} sockets: a host that is gone is noticed`, async () => {
    await here.exec('sh', '-c', `echo ${groups} > /proc/sys/net/ipv4/ping_group_range`)
    const probing = await probe([
      { id: 'any', address: there.ip6 },
      { id: 'bound', address: there.ip6, source: SECOND_ADDRESS6 },
      { id: 'nowhere', address: '2001:db8::ffff' },
      { id: 'four', address: there.ip4 },
    ])
    await probing.waitFor(/failing \["nowhere"\]/, NOTICED + 1)
    const sockets = (await here.exec('cat', table)).trim().split('\n').slice(1)
    assert.equal(sockets.length, 2, 'one for each source')
    const pulledAt = Date.now()
    const before = probing.mark()
    await there.exec('nft', 'add table inet lab')
    await there.exec('nft', 'add chain inet lab input { type filter hook input priority 0; }')
    await there.exec(
      'nft',
      `add rule inet lab input ip6 saddr ${SECOND_ADDRESS6} icmpv6 type echo-request drop`,
    )
    const [, at] = await probing.waitFor(/failing \["bound","nowhere"\] at (\d+)/, 5, before)
    assert.ok(Number(at) - pulledAt < NOTICED * 1000, `${Number(at) - pulledAt} ms`)
    await sleep(NOTICED * 1000)
    assert.equal(probing.count(/"any"/, before), 0, 'what the kernel chose the source of goes on')
    await there.exec('nft', 'delete table inet lab')
    await probing.stop()
  })
}

test('without the privilege routes count as good, and that is said', async () => {
  await here.exec('sh', '-c', 'echo 1 0 > /proc/sys/net/ipv4/ping_group_range')
  const probing = await probe([{ id: 'nowhere', address: NOWHERE }], WITHOUT_ROOT)
  await probing.waitFor(/problem routes are not probed: .*run as root or with CAP_NET_RAW/)
  assert.equal(probing.count(/failing/), 0)
  await probing.stop()
})
