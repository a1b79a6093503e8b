// A controller's IKE daemon against plain strongSwan: up by either end, rekeyed without a loss, restarted when it dies, and what is
// wrong told in plain words.
import assert from 'node:assert/strict'
import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { EngineOrders, EngineTunnel } from './engine-end.ts'
import type { Host } from './host.ts'
import { Ping } from './ping.ts'
import { PlainStrongSwan } from './plain-strongswan.ts'
import type { LabProcess } from './process.ts'
import { useLab } from './suite.ts'

const SECRET = 'a secret of the two ends'
const ID = '0123456789abcdef'

let here: Host
let there: Host
let site: PlainStrongSwan
let engine: LabProcess
let orders: EngineOrders
let file: string
let directory: string
let count = 0

const swanctl = (
  init: { secret?: string; version?: 1 | 2; ike?: string; remote?: string; id?: string } = {},
) => {
  const { secret = SECRET, version = 2, ike = 'default', remote = '10.77.0.0/16', id = 'site' } = init
  return `connections {
  mesh {
    version = ${version}
    remote_addrs = ${here.ip4}
    proposals = ${ike}
    keyingtries = 0
    unique = replace
    local { 
      auth = psk
      id = ${id}
    }
    remote {
      auth = psk
      id = mesh
    }
    children {
      net {
        local_ts = 10.50.0.0/24
        remote_ts = ${remote}
        start_action = none
        ${version === 1 ? 'esp_proposals = aes256-sha256-modp2048' : ''}
      }
    }
  }
}
secrets {
  ike-mesh {
    id-1 = mesh
    secret = "${secret}"
  }
}`
}

const tunnel = (changes: Partial<EngineTunnel> = {}): EngineTunnel => ({
  id: ID,
  name: 'branch',
  remote: there.ip4,
  localId: 'mesh',
  remoteId: 'site',
  secret: SECRET,
  ikeVersion: 2,
  ikeProposals: [],
  espProposals: [],
  localSubnets: ['10.77.0.0/16'],
  remoteSubnets: ['10.50.0.0/24'],
  dpdSeconds: 2,
  ikeLifetimeSeconds: 3600,
  childLifetimeSeconds: 1200,
  initiate: false,
  ...changes,
})

/** Tells the engine, and waits for a line of it. */
async function tell(
  changes: Partial<EngineOrders>,
  awaited?: RegExp,
  seconds = 15,
): Promise<RegExpExecArray | undefined> {
  const mark = engine.mark()
  orders = { ...orders, ...changes }
  writeFileSync(`${file}.new`, JSON.stringify(orders))
  renameSync(`${file}.new`, file)
  return awaited && engine.waitFor(awaited, seconds, mark)
}

/** An order, and its outcome. */
async function order(what: 'initiate' | 'terminate' | 'sas', timeoutMs = 8000): Promise<string> {
  const number = ++count
  const done = await tell(
    { order: { number, what, tunnel: ID, timeoutMs } },
    new RegExp(`done ${number} (.*) at \\d+`),
  )
  return done![1]
}

async function startEngine(): Promise<void> {
  const script = new URL('engine-end.ts', import.meta.url).pathname
  engine = await here.spawn(`engine-${++count}`, [
    process.execPath,
    script,
    JSON.stringify({ directory, file }),
  ])
  await engine.waitFor(/engine: state running user ipsec0/)
  await here.ip('route', 'replace', '10.50.0.0/24', 'dev', 'ipsec0', 'src', '10.77.0.1')
}

const charonPid = (): number => JSON.parse(readFileSync(join(directory, 'charon.pid'), 'utf8')).pid

useLab('ike', async lab => {
  here = await lab.host('here')
  there = await lab.host('there')
  for (const [host, address] of [
    [here, '10.77.0.1/16'],
    [there, '10.50.0.1/24'],
  ] as const) {
    await host.ip('link', 'add', 'lan', 'type', 'bridge')
    await host.ip('address', 'add', address, 'dev', 'lan')
    await host.ip('link', 'set', 'lan', 'up')
  }
  directory = join(lab.directory, 'ipsec')
  file = join(lab.directory, 'orders.json')
  orders = { tunnels: [] }
  writeFileSync(file, JSON.stringify(orders))
  site = await PlainStrongSwan.start(there, { configuration: swanctl() })
  await startEngine()
})

test('dials, and keeps a ping whole through rekeys of both SAs', async () => {
  const short = { initiate: true, ikeLifetimeSeconds: 13, childLifetimeSeconds: 10 }
  await tell({ tunnels: [tunnel(short)] }, new RegExp(`up ${ID}`))
  const mark = engine.mark()
  const ping = await Ping.start(here, '10.50.0.1', { interval: 0.02 })
  await ping.answered()
  await sleep(26_000)
  const { lost, sent } = await ping.stop()
  assert.ok(engine.count(/inbound CHILD_SA .* established/, mark) >= 2, 'child SAs are rekeyed')
  assert.ok(engine.count(/IKE_SA .* (?:rekeyed|established) between/, mark) >= 1, 'the IKE SA is rekeyed')
  assert.equal(engine.count(/engine: (?:up|down)/, mark), 0, 'and the tunnel is the same all the time')
  assert.equal(lost, 0, `of ${sent}`)
  const [sa] = JSON.parse(await order('sas'))
  assert.equal(sa.tunnel, ID)
  assert.equal(sa.remoteId, 'site')
  assert.equal(sa.state, 'ESTABLISHED')
  assert.match(sa.encryption, /^AES_/)
  const child = sa.children.find((each: { state: string }) => each.state === 'INSTALLED')
  assert.match(`${child.spiIn} ${child.spiOut}`, /^[0-9a-f]{8} [0-9a-f]{8}$/)
  assert.deepEqual(child.remoteSubnets, ['10.50.0.0/24'])
})

test('charon killed alone is back in 5 s, for a tunnel that it dials', async () => {
  await tell({ tunnels: [tunnel({ initiate: true })] }, new RegExp(`up ${ID}`))
  const mark = engine.mark()
  const killedAt = Date.now()
  process.kill(charonPid(), 'SIGKILL')
  await engine.waitFor(new RegExp(`down ${ID}`), 5, mark)
  const [, upAt] = await engine.waitFor(new RegExp(`up ${ID} at (\\d+)`), 10, mark)
  assert.ok(Number(upAt) - killedAt < 5000, `${Number(upAt) - killedAt} ms`)
})

test('and for one whose device dials', async () => {
  await tell({ tunnels: [] }, new RegExp(`down ${ID}`))
  await tell({ tunnels: [tunnel({ remote: '%any' })] })
  const before = engine.mark()
  await sleep(500)
  await site.swanctl('--initiate', '--child', 'net')
  await engine.waitFor(new RegExp(`up ${ID}`), 5, before)
  const mark = engine.mark()
  const killedAt = Date.now()
  process.kill(charonPid(), 'SIGKILL')
  const [, upAt] = await engine.waitFor(new RegExp(`up ${ID} at (\\d+)`), 10, mark)
  assert.ok(Number(upAt) - killedAt < 5000, `${Number(upAt) - killedAt} ms`)
  await here.ip('route', 'replace', '10.50.0.0/24', 'dev', 'ipsec0', 'src', '10.77.0.1')
  const ping = await Ping.start(here, '10.50.0.1', { count: 5 })
  assert.equal((await ping.finish()).received, 5)
})

const WRONGS: {
  what: string
  site?: Parameters<typeof swanctl>[0]
  ours?: Partial<EngineTunnel>
  words: RegExp
}[] = [
  { what: 'another secret', site: { secret: 'another' }, words: /authentication failed/ },
  { what: 'another IKE proposal', site: { ike: 'aes192-sha512-modp4096' }, words: /no proposal chosen/ },
  { what: 'other subnets', site: { remote: '10.99.0.0/16' }, words: /traffic selectors unacceptable/ },
  { what: 'another name', site: { id: 'elsewhere' }, words: /authentication failed/ },
  {
    what: 'another ESP proposal',
    ours: { espProposals: ['aes192-sha512-modp4096'] },
    words: /no proposal chosen/,
  },
]

for (const { what, site: changes, ours, words } of WRONGS) {
  test(`plain words for ${what}, whoever dials`, async () => {
    await tell({ tunnels: [] })
    await site.load(swanctl(changes))
    await tell({ tunnels: [tunnel(ours)] })
    const mark = engine.mark()
    assert.match(await order('initiate'), words)
    await engine.waitFor(new RegExp(`problem ${ID} .*${words.source}`), 5, mark)
    // As responder, with and without knowing where it comes from.
    for (const remote of [there.ip4, '%any']) {
      await tell({ tunnels: [] })
      await tell({ tunnels: [tunnel({ ...ours, remote })] })
      await sleep(300)
      const from = engine.mark()
      await site.swanctl('--initiate', '--child', 'net', '--timeout', '5').catch(() => undefined)
      await engine.waitFor(new RegExp(`problem ${ID} .*${words.source}`), 5, from)
    }
  })
}

test('plain words for nobody there, and for a name that is none', async () => {
  await tell({ tunnels: [tunnel({ remote: '192.0.2.99' })] })
  assert.match(await order('initiate', 7000), /no answer from the peer/)
  await tell({ tunnels: [tunnel({ remote: 'nowhere.invalid' })] })
  assert.match(await order('initiate'), /name not resolved: nowhere.invalid/)
})
