// A sealed host: its neighbours see nothing of it, the overlay goes on, also over the death of a controller, and unsealed it
// is as it was.
import assert from 'node:assert/strict'
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { strFromU8, unzipSync } from 'fflate'
import { NODE } from './controller.ts'
import type { Host } from './host.ts'
import { sleep, until } from './lab.ts'
import { Mesh, type MeshClient } from './mesh.ts'
import { Ping } from './ping.ts'
import type { LabProcess } from './process.ts'
import { useLab } from './suite.ts'

const KNOCK = join(import.meta.dirname, 'knock.ts')
const SERVICE = 8080
const OTHER = 8081
/** A resolver that is excepted, and those of DHCP (RFC 2131, section 4.1). */
const RESOLVER = 5353
const DHCP_SERVER = 67
const DHCP_CLIENT = 68
/** Where controllers listen. */
const PORT = 1194
/** What a scan tries: two services, and ports at which nobody listens. */
const PORTS = [22, 53, 80, 1194, SERVICE, OTHER]

/** What of a host answers, one line each; nothing when it is as if it were not there. */
async function scan(from: Host, address: string): Promise<string> {
  const { stdout } = await from.attempt([NODE, KNOCK, 'knock', address, ...PORTS.map(String)])
  return stdout.trim()
}

async function serve(host: Host, port: number): Promise<LabProcess> {
  const service = await host.spawn(`service ${host.name} ${port}`, [NODE, KNOCK, 'serve', String(port)])
  await service.waitFor(/serving/)
  return service
}

const ruleset = (host: Host): Promise<string> => host.exec('nft', 'list', 'ruleset')

describe('a host that is sealed', () => {
  let mesh: Mesh
  let sealed: MeshClient
  let peer: MeshClient
  let neighbour: Host
  let heard: LabProcess
  /** What the host itself offers. */
  let service: LabProcess
  /** Where the zip's files for the seal are. */
  let files: string
  let before: string

  /** Runs the zip's own script on the host. */
  const seal = (...args: string[]) => sealed.host.attempt([join(files, 'seal'), ...args])

  useLab('seal', async lab => {
    mesh = await Mesh.start(lab, ['alpha', 'beta', 'gamma'])
    neighbour = await lab.host('neighbour')
    const host = await lab.host('sealed')
    const founder = mesh.controllers[0]
    const zip = join(lab.directory, 'sealed.zip')
    const allow = `tcp/${OTHER}@${neighbour.ip4}`
    const resolver = `out:udp/${RESOLVER}@${neighbour.ip4}`
    const allowed = [allow, resolver].flatMap(each => ['--seal-allow', each])
    await founder.cli('client', 'add', 'sealed', '--seal', ...allowed, '--out', zip)
    const entries = unzipSync(readFileSync(zip))
    files = join(lab.directory, 'sealed', 'seal')
    mkdirSync(files, { recursive: true })
    for (const [name, content] of Object.entries(entries)) {
      const path = join(lab.directory, 'sealed', name)
      writeFileSync(path, strFromU8(content), { mode: 0o600 })
    }
    chmodSync(join(files, 'seal'), 0o700)
    const pack = mesh.orderPack(join(lab.directory, 'sealed', 'sealed.ovpn'), ['beta', 'gamma'])
    sealed = await mesh.connectWith('sealed', host, pack)
    peer = await mesh.connect('peer', ['alpha'])
    heard = await serve(neighbour, SERVICE)
    service = await serve(host, SERVICE)
    await serve(host, OTHER)
    // What another program keeps there is none of the seal's business.
    await host.exec('nft', 'add table inet foreign')
    await host.exec('nft', 'add chain inet foreign input { type filter hook input priority 0; }')
    await host.exec('nft', 'add rule inet foreign input counter accept')
    before = withoutCounts(await ruleset(host))
  })

  test('before, its neighbour reaches it, and it its neighbour', async () => {
    assert.match(await scan(neighbour, sealed.host.ip4), new RegExp(`tcp/${SERVICE} open`))
    assert.match(await scan(sealed.host, neighbour.ip4), new RegExp(`udp/${SERVICE} open`))
    assert.equal((await neighbour.attempt(['ping', '-c', '1', '-W', '1', sealed.host.ip4])).code, 0)
    assert.equal((await seal('status')).code, 1)
  })

  test('sealed, nothing is seen of it and nothing gets out, but for the overlay and what was excepted', async () => {
    const ping = await Ping.start(peer.host, sealed.address)
    await ping.answered()
    const applied = await seal('apply')
    assert.equal(applied.code, 0, applied.stderr)
    assert.equal((await seal('apply')).code, 0, 'applying again changes nothing')
    assert.match((await seal('status')).stdout, /^sealed$/m)

    const mark = heard.mark()
    assert.equal(await scan(neighbour, sealed.host.ip4), `tcp/${OTHER} open`)
    assert.equal(await scan(neighbour, sealed.host.ip6), '')
    assert.equal(await scan(peer.host, sealed.host.ip4), '', 'the exception is for one address')
    for (const address of [sealed.host.ip4, sealed.host.ip6]) {
      assert.equal((await neighbour.attempt(['ping', '-c', '1', '-W', '1', address])).code, 1)
    }
    assert.equal(await scan(sealed.host, neighbour.ip4), '')
    assert.equal(await scan(sealed.host, neighbour.ip6), '')
    assert.doesNotMatch(
      heard.output.slice(mark),
      new RegExp(`from .*(${sealed.host.ip4}|${sealed.host.ip6})`),
    )

    assert.match(await scan(peer.host, sealed.address), new RegExp(`tcp/${SERVICE} open`))
    await sealed.host.exec('ping', '-c', '2', '-W', '2', peer.address)
    assert.equal((await ping.stop()).lost, 0, 'the overlay went on without loss')
    assert.match((await seal('status')).stdout, /packets [1-9]\d* .*refused/)
  })

  test('it keeps its address by DHCP and asks the resolver that was excepted, and neither leads in', async () => {
    const servers = [await serve(neighbour, DHCP_SERVER), await serve(neighbour, RESOLVER)]
    const elsewhere = await serve(peer.host, RESOLVER)
    const ask = async (by: Host, from: number, address: string, port: number) =>
      (await by.exec(NODE, KNOCK, 'ask', String(from), address, String(port))).trim()
    const { host } = sealed
    for (const address of [neighbour.ip4, '192.0.2.255'])
      assert.equal(await ask(host, DHCP_CLIENT, address, DHCP_SERVER), 'answered')
    assert.equal(await ask(host, 0, neighbour.ip4, DHCP_SERVER), 'nothing')
    assert.equal(await ask(host, 0, neighbour.ip4, RESOLVER), 'answered')
    assert.equal(await ask(host, 0, peer.host.ip4, RESOLVER), 'nothing')
    const mark = service.mark()
    await servers[1].stop()
    for (const from of [RESOLVER, DHCP_CLIENT])
      assert.equal(await ask(neighbour, from, host.ip4, SERVICE), 'nothing')
    assert.doesNotMatch(service.output.slice(mark), /udp from/)
    await Promise.all([servers[0].stop(), elsewhere.stop()])
  })

  test('a switch that sends multicast to who wants it alone is told that it does, so that neighbours find it', async () => {
    const { host } = sealed
    const onSwitch = (program: 'ip' | 'bridge', ...args: string[]) => host.lab.onSwitch(program, ...args)
    const bridge = (...args: string[]) => onSwitch('ip', 'link', 'set', 'bridge', 'type', 'bridge', ...args)
    const group = `ff02::1:ff00:${host.ip6.split('::')[1]}`
    const entry = ['dev', 'bridge', 'port', host.name, 'grp', group, 'temp']
    // In hundredths of a second.
    const intervals = ['startup_query_interval', 'query_interval', 'query_response_interval']
    await bridge(...intervals.flatMap(each => [`mcast_${each}`, '100']))
    try {
      await bridge('mcast_querier', '1')
      // The newer one first: a host that has heard the older one speaks it for a while.
      for (const [version, report] of [
        ['2', 143],
        ['1', 131],
      ] as const) {
        await bridge('mcast_mld_version', version)
        await until(`it speaks version ${version}`, async () =>
          new RegExp(`Icmp6OutType${report}\\s+[1-9]`).test(await host.exec('cat', '/proc/net/snmp6')),
        )
        // What it said before it was sealed, or in the other version.
        await onSwitch('bridge', 'mdb', 'del', ...entry).catch(() => '')
        await until(`it is heard in version ${version}`, async () =>
          (await onSwitch('bridge', 'mdb', 'show', 'dev', 'bridge')).includes(entry.slice(2).join(' ')),
        )
      }
      await neighbour.ip('-6', 'neighbour', 'flush', 'dev', 'eth0')
      assert.equal((await neighbour.attempt(['ping', '-c', '1', '-W', '1', host.ip6])).code, 1)
      assert.match(await neighbour.ip('-6', 'neighbour', 'show', host.ip6), /lladdr/)
    } finally {
      await bridge('mcast_querier', '0')
    }
  })

  test('its controller is killed: it fails over, sealed, also to who bears the dead one’s address', async () => {
    const victim = mesh.get((await mesh.whereIs('sealed'))!)
    const ping = await Ping.start(peer.host, sealed.address)
    await ping.answered()
    await victim.process.kill()
    await sleep(300)
    await ping.answered(12)
    await ping.stop()
    assert.equal(await scan(neighbour, sealed.host.ip4), `tcp/${OTHER} open`)
    assert.notEqual(await mesh.whereIs('sealed'), victim.name)
    const mark = service.mark()
    await victim.host.exec(NODE, '-e', datagramFrom(PORT, sealed.host.ip4, SERVICE))
    await sleep(300)
    assert.doesNotMatch(service.output.slice(mark), /udp from/)
    await victim.up()
    await mesh.whole(20)
  })

  test('what took the table away is made good, and a trial ends by itself', async () => {
    await sealed.host.exec('nft', 'delete table inet overmesh_seal')
    assert.equal((await seal('refresh')).code, 0)
    assert.equal(await scan(neighbour, sealed.host.ip4), `tcp/${OTHER} open`)
    const sealedAfter = async (seconds: number): Promise<boolean> => {
      await sleep(seconds * 1000)
      return (await seal('status')).code === 0
    }
    assert.equal((await seal('apply', '--try', '1')).code, 0)
    assert.ok(await sealedAfter(1.5), 'it was sealed before')
    assert.equal((await seal('unseal')).code, 0)
    assert.equal((await seal('apply', '--try', '1')).code, 0)
    await until('it is open, as it was before', async () => !(await sealedAfter(0.1)), 10)
    // What was said to stay is not ended by a trial that was begun before.
    for (const staying of ['confirm', 'apply']) {
      // Long enough for another command to begin, on however busy a machine.
      assert.equal((await seal('apply', '--try', '8')).code, 0)
      assert.equal((await seal(staying)).code, 0)
      assert.ok(await sealedAfter(8.5), staying)
      if (staying === 'confirm') assert.equal((await seal('unseal')).code, 0)
    }
    assert.equal((await seal('apply', '--try', 'soon')).code, 2)
    assert.equal((await seal('solder')).code, 2)
  })

  test('installed and unsealed, everything is as it was', async () => {
    const root = join(files, '..', 'root')
    const env = [`DESTDIR=${root}`]
    mkdirSync(join(root, 'etc'), { recursive: true })
    const hosts = join(root, 'etc/hosts')
    writeFileSync(hosts, '10.0.0.9 printer\n')
    // A controller by name: openvpn has to find it when no resolver answers.
    writeFileSync(join(files, 'names'), 'localhost 1194\n')
    const installed = await sealed.host.attempt(['env', ...env, join(files, 'seal'), 'install'])
    assert.equal(installed.code, 0, installed.stderr)
    const home = join(root, 'usr/local/lib/overmesh-seal')
    for (const unit of ['.service', '-refresh.service', '-refresh.timer'])
      assert.ok(existsSync(join(root, `etc/systemd/system/overmesh-seal${unit}`)))
    assert.equal(await scan(neighbour, sealed.host.ip4), `tcp/${OTHER} open`)
    assert.match(readFileSync(hosts, 'utf8'), /^10\.0\.0\.9 printer\n(.* localhost # overmesh-seal\n)+$/)
    assert.match(await ruleset(sealed.host), /127\.0\.0\.1 \. 1194/)

    // Taken away, it is back before names are asked for: of a resolver that answers only then.
    const bin = join(root, 'bin')
    mkdirSync(bin)
    const answer = join(root, 'answer')
    const getent = `#!/bin/sh\nuntil [ -e ${answer} ]; do sleep 0.1; done\necho 192.0.2.200\n`
    writeFileSync(join(bin, 'getent'), getent, { mode: 0o700 })
    await sealed.host.exec('nft', 'delete', 'table', 'inet', 'overmesh_seal')
    const path = `PATH=${bin}:${process.env.PATH}`
    const refreshed = sealed.host.attempt(['env', ...env, path, join(home, 'seal'), 'refresh'])
    try {
      await until('it is sealed again', async () => (await seal('status')).code === 0)
    } finally {
      writeFileSync(answer, '')
    }
    assert.equal((await refreshed).code, 0, (await refreshed).stderr)
    assert.match(await ruleset(sealed.host), /127\.0\.0\.1 \. 1194[^}]*192\.0\.2\.200 \. 1194/)

    const unsealed = await sealed.host.attempt(['env', ...env, join(home, 'seal'), 'unseal'])
    assert.equal(unsealed.code, 0, unsealed.stderr)
    assert.ok(!existsSync(home))
    assert.equal(readFileSync(hosts, 'utf8'), '10.0.0.9 printer\n')
    assert.ok(!existsSync(join(root, 'etc/systemd/system/overmesh-seal.service')))
    assert.equal(withoutCounts(await ruleset(sealed.host)), before)
    assert.match(await scan(neighbour, sealed.host.ip4), new RegExp(`tcp/${SERVICE} open`))
  })
})

/** A program that sends one datagram from a port of its own choice. */
function datagramFrom(port: number, address: string, to: number): string {
  const send = `s.send('x', ${to}, '${address}', () => s.close())`
  return `const s = require('node:dgram').createSocket('udp4'); s.bind(${port}, () => ${send})`
}

function withoutCounts(text: string): string {
  return text.replace(/packets \d+ bytes \d+/g, 'counted')
}
