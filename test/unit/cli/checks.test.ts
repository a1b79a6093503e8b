import assert from 'node:assert/strict'
import { rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { checkMachine } from '../../../node/cli/checks.ts'
import { type Machine, type OpenedController, thisMachine } from '../../../node/cli/machine.ts'
import type { IkeDaemon } from '../../../node/service-ipsec.ts'
import { newMesh, temporaryDirectory } from '../controller/home.ts'

const directory = statSync('/')

const DROPPING = JSON.stringify({
  nftables: [{ chain: { family: 'ip', table: 'filter', name: 'FORWARD', hook: 'forward', policy: 'drop' } }],
})

const anything = Object.assign(Object.create(directory), { uid: 0, mode: 0o40700 })
/** A kernel that installs no security association. */
const withoutEsp: Partial<Machine> = {
  run: async (command, ...args) => (command === 'ip' && args[0] === 'xfrm' ? undefined : 'yes'),
}

/** A machine that has everything. */
function machine(changes: Partial<Machine> = {}): Machine {
  const files: Record<string, string> = {
    '/proc/self/limits':
      'Limit  Soft Limit  Hard Limit  Units\nMax open files            65536                524288   files\n',
    '/proc/self/status': 'Name:\tnode\nCapEff:\t000001ffffffffff\n',
    '/proc/sys/net/core/rmem_max': '8388608\n',
    '/data/config.json': '{"listen":["0.0.0.0:1194","[::]:1194"]}',
  }
  return {
    platform: 'linux',
    nodeVersion: '24.21.0',
    kernel: '6.1.0-13-amd64',
    uid: 0,
    read: path => files[path],
    stat: () => anything,
    accessible: () => true,
    program: name => `/usr/sbin/${name}`,
    run: async () => 'yes',
    bindUdp: async () => undefined,
    bindTcp: async () => undefined,
    openController: async () => ({ state: 'good', notices: [] }),
    ...changes,
  }
}

async function states(changes: Partial<Machine>, running = false, daemon?: IkeDaemon) {
  const checks = await checkMachine({ machine: machine(changes), dataDir: '/data', running, daemon })
  for (const check of checks) {
    assert.equal(
      check.fix === null,
      check.state === 'ok',
      `${check.name}: a remedy exactly where one is needed`,
    )
  }
  return Object.fromEntries(checks.map(check => [check.name, check]))
}

test('finds nothing wrong with a machine that has everything', async () => {
  const checks = await states({})
  assert.deepEqual(
    Object.values(checks).filter(check => check.state !== 'ok'),
    [],
  )
  assert.ok(Object.keys(checks).length >= 13)
})

test('names what lacks, and whether a controller can do without', async () => {
  const cases: [Partial<Machine>, name: string, state: string, essential: boolean, fix: RegExp][] = [
    [{ nodeVersion: '20.11.0' }, 'node', 'missing', true, /Node 24/],
    [{ nodeVersion: '22.17.9' }, 'node', 'missing', true, /Node 24/],
    [{ platform: 'darwin' }, 'system', 'missing', true, /on Linux/],
    [{ accessible: path => path !== '/data' }, 'data directory', 'missing', true, /chmod 700/],
    [{ uid: 1000 }, 'data directory', 'missing', true, /its owner/],
    [{ bindUdp: async () => 'EADDRINUSE' }, 'UDP port', 'missing', true, /ss -ulpn 'sport = :1194'/],
    [{ bindUdp: async () => 'EACCES' }, 'UDP port', 'missing', true, /above 1023/],
    [{ bindTcp: async () => 'EADDRINUSE' }, 'TCP port', 'missing', true, /ss -tlpn 'sport = :4001'/],
    [
      { read: path => (path === '/proc/self/status' ? 'CapEff:\t0000000000000400\n' : undefined) },
      'network administration',
      'missing',
      false,
      /NET_ADMIN/,
    ],
    [{ accessible: path => path !== '/dev/net/tun' }, 'TUN device', 'missing', false, /as root/],
    [{ kernel: '4.19.0' }, 'UDP offloads', 'warning', false, /5\.0 or newer/],
    [
      { read: path => (path.endsWith('rmem_max') ? '212992' : undefined) },
      'receive buffer',
      'warning',
      false,
      /sysctl -w/,
    ],
    [{ run: async () => 'no' }, 'clock', 'warning', false, /chrony/],
    [{ run: async () => undefined }, 'clock', 'warning', false, /cannot be seen/],
    [{ program: () => undefined }, 'nft', 'missing', false, /apt-get install nftables/],
    [
      { accessible: path => !path.startsWith('/proc/sys/') },
      'IPv4 forwarding',
      'missing',
      false,
      /docker run --sysctl net\.ipv4\.ip_forward=1/,
    ],
    [
      { accessible: path => !path.startsWith('/proc/sys/') },
      'IPv6 forwarding',
      'missing',
      false,
      /docker run --sysctl net\.ipv6\.conf\.all\.forwarding=1/,
    ],
    [
      { run: async (command, ...args) => (command === 'nft' && args[0] === '-j' ? DROPPING : 'yes') },
      'firewall',
      'warning',
      false,
      /nft insert rule ip filter FORWARD iifname '"overmesh\*"' accept; nft .* oifname/,
    ],
    [
      { program: () => undefined, stat: path => (path.endsWith('/charon') ? undefined : anything) },
      'strongSwan',
      'missing',
      false,
      /apt-get install charon-systemd$/,
    ],
    [
      { ...withoutEsp, stat: path => (/libipsec|openssl/.test(path) ? undefined : anything) },
      'strongSwan',
      'missing',
      false,
      /apt-get install libstrongswan-standard-plugins libcharon-extra-plugins$/,
    ],
    [
      { program: () => undefined, stat: path => (path.includes('vici') ? undefined : anything) },
      'strongSwan',
      'missing',
      false,
      /apt-get install strongswan-swanctl$/,
    ],
    [{ uid: 1000, read: () => undefined, ...withoutEsp }, 'ESP', 'warning', false, /sudo overmesh doctor/],
    [
      { bindUdp: async (_, port) => (port === 4500 ? 'EADDRINUSE' : undefined) },
      'IKE ports',
      'missing',
      false,
      /ss -ulpn 'sport = :4500'/,
    ],
  ]
  for (const [changes, name, state, essential, fix] of cases) {
    const check = (await states(changes))[name]
    assert.equal(check.state, state, name)
    assert.equal(check.essential, essential, name)
    assert.match(check.fix ?? '', fix)
  }
})

test('forwarding may be off where a gateway can switch it on, and a firewall may drop what is not the overlay', async () => {
  const off = await states({ read: path => (path.endsWith('/ip_forward') ? '0\n' : undefined) })
  assert.equal(off['IPv4 forwarding'].state, 'ok')
  const sealed = { accessible: (path: string) => !path.startsWith('/proc/sys/') }
  const on = await states({ ...sealed, read: path => (path.endsWith('/ip_forward') ? '1\n' : undefined) })
  assert.equal(on['IPv4 forwarding'].state, 'ok')
  const run = async (command: string, ...args: string[]) =>
    command === 'nft' ? (args[0] === '-j' ? DROPPING : 'iifname "overmesh*" accept') : 'yes'
  assert.equal((await states({ run })).firewall.state, 'ok')
})

test('says who does ESP, and needs the plugin for it only where strongSwan does', async () => {
  const stat = (path: string) => (path.includes('libipsec') ? undefined : anything)
  const kernel = await states({ stat })
  assert.equal(kernel.strongSwan.state, 'ok')
  assert.match(kernel.ESP.found, /by the kernel/)
  const user = await states(withoutEsp)
  assert.equal(user.ESP.state, 'ok')
  assert.match(user.ESP.found, /kernel-libipsec/)
})

test('a running controller says how its IKE daemon stands, and whether that is as it should be', async () => {
  const idle = { state: 'idle', problem: 'it is not needed: no attachment is enabled', esp: null }
  const failed = { state: 'failed', problem: 'UDP port 500 is in use', esp: null }
  const found = async (daemon: IkeDaemon) => {
    const check = (await states({}, true, daemon))['IKE daemon']
    return [check.state, check.found]
  }
  assert.deepEqual(await found({ state: 'running', problem: null, esp: 'user' }), [
    'ok',
    'running, on UDP 500 and 4500',
  ])
  assert.deepEqual(await found(idle), ['ok', `does not run: ${idle.problem}`])
  assert.deepEqual(await found(failed), ['warning', `does not run: ${failed.problem}`])
})

test('the ports of a running controller are in use as they should be', async () => {
  const checks = await states({ bindUdp: async () => 'EADDRINUSE' }, true)
  assert.equal(checks['UDP port'].state, 'ok')
  assert.equal(checks['IKE ports'].state, 'ok')
})

test('a port of the API that is in use is told, and is no reason not to run', async () => {
  const read = (path: string) =>
    path.endsWith('config.json') ? '{"api":{"listen":["127.0.0.1:8443"],"names":[]}}' : undefined
  const bindTcp = async (_host: string, port: number) => (port === 8443 ? 'EADDRINUSE' : undefined)
  const checks = await checkMachine({
    machine: machine({ read, bindTcp }),
    dataDir: '/data',
    running: false,
  })
  const api = checks.find(({ found }) => found.startsWith('127.0.0.1:8443'))
  assert.deepEqual([api?.state, api?.essential, api?.neededFor], ['missing', false, 'the API over TCP'])
})

test('asks for the configured addresses, or for what init would choose', async () => {
  const asked: string[] = []
  const bindUdp = async (host: string, port: number) => void asked.push(`${host} ${port}`)
  const ike = ['0.0.0.0 500', '0.0.0.0 4500']
  await states({ bindUdp })
  assert.deepEqual(asked.splice(0), ['0.0.0.0 1194', ':: 1194', ...ike])
  for (const config of [undefined, 'not json', '{"listen":7}', 'null']) {
    await states({ bindUdp, read: path => (path.endsWith('config.json') ? config : undefined) })
    assert.deepEqual(asked.splice(0), ['0.0.0.0 1194', ...ike])
  }
})

test('what a controller would find wrong in its data directory is found', async () => {
  const opens = (opened: OpenedController, more: Partial<Machine> = {}) =>
    states({ openController: async () => opened, ...more })
  const name = 'records and keys'
  assert.equal((await opens({ state: 'good', notices: [] }))[name].state, 'ok')
  assert.equal((await opens({ state: 'none' }))[name], undefined)
  const problem = '/data/identity.key is missing; restore it from a backup'
  assert.partialDeepStrictEqual((await opens({ state: 'unusable', problem }))[name], {
    state: 'missing',
    essential: true,
    found: '/data/identity.key is missing',
    fix: 'restore it from a backup',
  })
  assert.equal((await opens({ state: 'busy', problem: 'in use by another' }))[name].state, 'warning')
  const loose = await opens({ state: 'good', notices: ['a was open', 'b was open'] })
  assert.equal(loose[name].state, 'warning')
  assert.match(loose[name].found, /^a was open; b was open$/)
  const unasked = async (): Promise<OpenedController> => assert.fail('it was opened')
  assert.equal((await states({ openController: unasked }, true))[name], undefined, 'it runs')
  for (const info of [undefined, Object.assign(Object.create(anything), { uid: 1000 })])
    assert.equal((await states({ openController: unasked, stat: () => info }))[name], undefined)
})

test('a real data directory is opened, and damage in it told', async t => {
  const nothing = await temporaryDirectory(t)
  assert.deepEqual(await thisMachine.openController(nothing), { state: 'none' })
  const dataDir = await newMesh(t)
  const open = () => thisMachine.openController(dataDir)
  assert.deepEqual(await open(), { state: 'good', notices: [] })
  rmSync(join(dataDir, 'pki', 'server.key'))
  const opened = await open()
  assert.equal(opened.state, 'unusable')
  assert.match(JSON.stringify(opened), /server\.key is missing/)
  rmSync(join(dataDir, 'config.json'))
  assert.match(JSON.stringify(await open()), /no config\.json/)
})
