// A controller's IKE daemon against plain strongSwan: up by either end, rekeyed without a loss, its tunnels apart from one another,
// and restarted when it dies.
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { EngineLab, ID, SECRET } from './engine-lab.ts'
import { until } from './lab.ts'
import { Ping } from './ping.ts'
import { useLab } from './suite.ts'

let ipsec: EngineLab
const use = useLab('ike', async lab => {
  ipsec = await EngineLab.create(lab)
  await ipsec.route()
})

async function pings(): Promise<number> {
  await ipsec.route()
  const ping = await Ping.start(ipsec.here, '10.50.0.1', { count: 5 })
  return (await ping.finish()).received
}

test('keeps a ping whole through rekeys of both SAs', async () => {
  await ipsec.up(ipsec.tunnel({ initiate: true, ikeLifetimeSeconds: 13, childLifetimeSeconds: 10 }))
  const mark = ipsec.engine.mark()
  const ping = await Ping.start(ipsec.here, '10.50.0.1', { interval: 0.02 })
  await ping.answered()
  await sleep(19_000)
  const { lost, sent } = await ping.stop()
  assert.ok(ipsec.engine.count(/inbound CHILD_SA .* established/, mark) >= 2, 'child SAs are rekeyed')
  assert.ok(ipsec.engine.count(/IKE_SA .* rekeyed between/, mark) >= 1, 'the IKE SA is rekeyed')
  assert.equal(ipsec.engine.count(/engine: (?:up|down)/, mark), 0, 'and the tunnel is the same all the time')
  assert.equal(lost, 0, `of ${sent}`)
})

test('tells the SA: who, how, and how much', async () => {
  const [sa] = JSON.parse(await ipsec.order('sas'))
  assert.deepEqual([sa.tunnel, sa.remoteId, sa.state, sa.version], [ID, 'site', 'ESTABLISHED', 2])
  assert.match(sa.encryption, /^AES_/)
  assert.match(sa.remoteHost, new RegExp(`^${ipsec.there.ip4}:4500$`))
  const child = sa.children.find((each: { state: string }) => each.state === 'INSTALLED')
  assert.match(`${child.spiIn} ${child.spiOut}`, /^[0-9a-f]{8} [0-9a-f]{8}$/)
  assert.deepEqual(child.remoteSubnets, ['10.50.0.0/24'])
  assert.ok(child.rekeySeconds <= 9 && child.lifeSeconds <= 10)
})

test('another tunnel that comes and goes leaves it alone, and so does who dials', async () => {
  const mark = ipsec.engine.mark()
  const first = ipsec.tunnel({ initiate: true })
  await ipsec.up(first)
  const settled = ipsec.engine.mark()
  const ping = await Ping.start(ipsec.here, '10.50.0.1', { interval: 0.02 })
  await ping.answered()
  const other = ipsec.tunnel({
    id: 'ffffffffffffffff',
    name: 'other',
    remote: '%any',
    remoteId: 'other',
    secret: 'x',
  })
  await ipsec.set(first, other)
  await ipsec.set(first, { ...other, dpdSeconds: 9 })
  await ipsec.set({ ...first, initiate: false })
  await sleep(500)
  assert.equal((await ping.stop()).lost, 0)
  assert.equal(ipsec.engine.count(new RegExp(`down ${ID}`), mark), 1, 'for its new lifetimes')
  assert.equal(ipsec.engine.count(/engine: (?:up|down)/, settled), 0)
})

test('ends a tunnel in order, and the site knows at once', async () => {
  const mark = ipsec.site.process.mark()
  assert.equal(await ipsec.order('terminate'), 'well')
  await ipsec.site.said(/received DELETE for IKE_SA/, 2, mark)
  assert.equal(await ipsec.order('sas'), '[]')
})

test('charon killed alone is back in 5 s, for a tunnel that it dials', async () => {
  await ipsec.up(ipsec.tunnel({ initiate: true }))
  assert.ok((await ipsec.killCharon()) < 5000)
  assert.equal(await pings(), 5)
})

test('and for one whose device dials', async () => {
  await ipsec.set()
  const mark = ipsec.engine.mark()
  await ipsec.set(ipsec.tunnel({ remote: '%any' }))
  await ipsec.siteDials()
  await ipsec.engine.waitFor(new RegExp(`up ${ID}`), 5, mark)
  let isDown = true
  const calls = (async () => {
    while (isDown) await ipsec.siteDials()
  })()
  assert.ok((await ipsec.killCharon()) < 5000)
  isDown = false
  await calls
  // A refusal would be the last that is heard of some devices.
  assert.equal(ipsec.engine.count(/sending NO_PROPOSAL_CHOSEN/, mark), 0)
  assert.equal(await pings(), 5)
})

test('one that dials, and was sent away, is called when its tunnel is wanted again', async () => {
  await ipsec.set()
  assert.equal(await ipsec.order('sas'), '[]')
  await ipsec.up(ipsec.tunnel({ remote: '%any' }))
  assert.equal(await pings(), 5)
})

test('a device that comes back from another address replaces its old self', async () => {
  await ipsec.set()
  const mark = ipsec.engine.mark()
  await ipsec.set(ipsec.tunnel({ remote: '%any' }))
  await ipsec.siteDials()
  await ipsec.engine.waitFor(new RegExp(`up ${ID}`), 5, mark)
  // It lost power: nothing is said, and what comes next is a stranger's first message.
  await ipsec.site.process.kill()
  await ipsec.there.moveTo('192.0.2.222')
  await ipsec.restartSite()
  await ipsec.siteDials()
  await sleep(500)
  const sas = JSON.parse(await ipsec.order('sas'))
  assert.equal(sas.length, 1)
  assert.match(sas[0].remoteHost, /^192\.0\.2\.222:/)
  assert.equal(await pings(), 5)
})

test('and one whose address changes while it lives keeps its SA (MOBIKE)', async () => {
  const mark = ipsec.engine.mark()
  const [before] = JSON.parse(await ipsec.order('sas'))
  await ipsec.there.moveTo('192.0.2.223')
  await ipsec.engine.waitFor(/parsed INFORMATIONAL request .*N\(UPD_SA_ADDR\)/, 15, mark)
  assert.equal(await pings(), 5)
  const [after] = JSON.parse(await ipsec.order('sas'))
  assert.equal(after.uniqueId, before.uniqueId)
  assert.ok(!after.remoteHost.startsWith('192.0.2.222:'), after.remoteHost)
  assert.equal(ipsec.engine.count(/engine: (?:up|down)/, mark), 0)
})

test('IKEv1, and of two pairs of networks the one that the site ends is back', async () => {
  // libipsec installs no policy of a network in which its machine has no address.
  await ipsec.there.ip('address', 'add', '10.51.0.1/24', 'dev', 'lan')
  await ipsec.setSite({ version: 1, further: '10.51.0.0/24' })
  const remoteSubnets = ['10.50.0.0/24', '10.51.0.0/24']
  await ipsec.up(ipsec.tunnel({ ikeVersion: 1, initiate: true, remoteSubnets }))
  assert.equal(await pings(), 5)
  const children = async () => {
    const [{ version, children }] = JSON.parse(await ipsec.order('sas'))
    assert.equal(version, 1)
    return children.map((each: { remoteSubnets: string[] }) => each.remoteSubnets.join()).sort()
  }
  await until('both are up', async () => (await children()).length === 2, 5)
  const mark = ipsec.engine.mark()
  await ipsec.site.swanctl('--terminate', '--child', 'net-2')
  await ipsec.engine.waitFor(/received DELETE for ESP CHILD_SA/, 5, mark)
  await ipsec.engine.waitFor(/CHILD_SA .* established .* === 10\.51\.0\.0\/24/, 5, mark)
  assert.deepEqual(await children(), remoteSubnets)
  assert.equal(ipsec.engine.count(/engine: (?:up|down)/, mark), 0)
})

test('a controller that is killed takes charon with it, and the site is told', async () => {
  const charon = ipsec.charonPid()
  const mark = ipsec.site.process.mark()
  await ipsec.engine.kill()
  await ipsec.site.said(/received DELETE for IKE_SA/, 3, mark)
  for (let waited = 0; isAlive(charon) && waited < 3000; waited += 20) await sleep(20)
  assert.ok(!isAlive(charon))
})

test('one that was left behind is ended, and what another has is told', async () => {
  await ipsec.startEngine()
  const charon = ipsec.charonPid()
  // As if the kernel had no parent death signal: nothing tells charon that its controller is gone.
  process.kill(charon, 'SIGSTOP')
  await ipsec.engine.kill()
  await ipsec.startEngine()
  assert.ok(!isAlive(charon))
  await ipsec.engine.stop()

  const other = await ipsec.here.spawn('other', [process.execPath, '-e', OCCUPY])
  await other.waitFor(/bound/)
  await ipsec.startEngine(/state failed user undefined UDP port 4500 is in use.*ss -ulpn/)
  const mark = ipsec.engine.mark()
  await other.stop()
  await ipsec.engine.waitFor(/state running user ipsec0/, 10, mark)
  await ipsec.engine.stop()
})

test('its files are private, and have no secret', () => {
  const files = readdirSync(ipsec.directory).filter(name => name !== 'charon.vici')
  assert.deepEqual(files, ['strongswan.conf'])
  for (const name of files) assert.ok(!readFileSync(join(ipsec.directory, name), 'utf8').includes(SECRET))
  assert.ok(!use.lab.logs().includes(SECRET))
})

const OCCUPY = `require('dgram').createSocket('udp4').bind(4500, () => console.log('bound')); setInterval(() => {}, 1000)`

/** Neither gone nor waiting for its parent to hear of its end. */
function isAlive(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  } catch {
    return false
  }
}
