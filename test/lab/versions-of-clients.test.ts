// The oldest and the newest OpenVPN that clients may have, of the Debian releases that have them, beside those that the machine has.
import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { Controller } from './controller.ts'
import { fetchDebian, SuiteGone } from './debian-suite.ts'
import type { Host } from './host.ts'
import { iperf, iperfServer } from './iperf.ts'
import { sleep, until } from './lab.ts'
import { OpenvpnClient, writePack } from './openvpn-client.ts'
import { Ping } from './ping.ts'
import { useLab } from './suite.ts'

const GATEWAY = '10.77.0.1'

interface Version {
  /** Undefined when it is not to be had. */
  root?: string
  suite: string
  is: RegExp
  packages: string[]
  /** Its data channel, by its log. */
  data: RegExp
  keyDerivation: string
}

const NEW: Version = {
  suite: 'forky',
  is: /^2\.7\./,
  // Its script for DNS is one for a shell.
  packages: ['openvpn', 'dash'],
  data: /Outgoing Epoch Data key 1: Cipher 'AES-256-GCM'/,
  keyDerivation: 'tls-ekm',
}
const OLD: Version = {
  suite: 'bullseye',
  is: /^2\.5\./,
  packages: ['openvpn'],
  data: /Outgoing Data Channel: Cipher 'AES-256-GCM'/,
  keyDerivation: 'prf',
}

/** Mirrors give up old releases some day; whatever else is wrong fails. */
async function fetchVersion(version: Version): Promise<void> {
  const { suite, packages } = version
  try {
    version.root = await fetchDebian(suite, packages)
  } catch (error) {
    if (!(error instanceof SuiteGone) || suite !== OLD.suite) throw error
    process.stdout.write(`OpenVPN 2.5 IS NOT TESTED: ${error.message}\n`)
  }
}

await Promise.all([NEW, OLD].map(fetchVersion))

/** Lines of a log that a user takes for trouble. */
function complaints({ process: { output } }: OpenvpnClient): string[] {
  return output.split('\n').filter(line => /WARNING:|ERROR:|DEPRECATED/.test(line))
}

describe('versions of stock clients', () => {
  let controller: Controller
  const use = useLab('versions', async lab => {
    controller = await Controller.start(await lab.host('hub'), { subnet6: 'fd00:77::/64' })
    await controller.api.setRouteUpdates({ over: 0 })
    await controller.api.addClient({ name: 'site' })
  })

  const versions = OLD.root === undefined ? [NEW] : [OLD, NEW]
  const name = `OpenVPN ${OLD.root === undefined ? '2.7 (2.5 is not to be had any more)' : '2.5 and 2.7'}`
  const forEach = (test: (version: Version, index: number) => Promise<void>) =>
    Promise.all(versions.map(test))
  const sessionOf = async (client: string) =>
    (await controller.api.sessions()).find(session => session.client === client)

  /** A new client's host and pack. */
  async function newClient(id: string): Promise<{ host: Host; pack: string }> {
    const host = await use.lab.host(id)
    const { content } = await controller.api.addClient({ name: id })
    return { host, pack: writePack(host, `${id}.ovpn`, Buffer.from(content).toString()) }
  }

  test(`${name}: the pack as it is, and new keys without a ping lost`, async () => {
    await forEach(async ({ suite, root, is, data, keyDerivation }) => {
      const { host, pack } = await newClient(suite)
      const args = ['--reneg-sec', '4']
      const client = await OpenvpnClient.connect(host, pack, { root, verbosity: 4, args })
      const session = (await sessionOf(suite))!
      assert.match(session.version, is)
      assert.equal(session.cipher, 'AES-256-GCM')
      assert.equal(session.keyDerivation, keyDerivation)
      assert.match(session.tls, /1\.3/)
      assert.match(client.process.output, data)
      assert.match(await host.exec('ping', '-c1', '-W2', 'fd00:77::a4d:1'), /1 received/)
      const ping = await Ping.start(host, GATEWAY, { interval: 0.05 })
      await ping.answered()
      const before = client.handshakes
      await until('two renegotiations', () => client.handshakes >= before + 2, 20)
      const report = await ping.stop()
      assert.equal(report.lost, 0)
      assert.ok(report.sent > 50)
      assert.equal(client.connections, 1)
      assert.deepEqual(complaints(client), [])
      await client.stop()
      assert.equal(await sessionOf(suite), undefined, 'it said good-bye')
    })
  })

  test(`${name}: TLS 1.2 and ChaCha20, traffic both ways, long packets, another address`, async () => {
    const { address } = (await controller.api.status()).controller
    await forEach(async ({ suite, root }, index) => {
      const id = `${suite}-2`
      const { host, pack } = await newClient(id)
      const args = ['--tls-version-max', '1.2', '--data-ciphers', 'CHACHA20-POLY1305']
      const client = await OpenvpnClient.connect(host, pack, { root, args })
      const session = (await sessionOf(id))!
      assert.equal(session.cipher, 'CHACHA20-POLY1305')
      assert.match(session.tls, /1\.2/)
      const port = 5201 + index
      await iperfServer(controller.host, port)
      for (const reverse of [false, true]) {
        const stream = await iperf(host, address, { reverse, port })
        assert.ok(stream.bitsPerSecond > 1e6, `${id} ${stream.bitsPerSecond}`)
        const udp = { bitsPerSecond: 5e6, bytes: 1200 }
        const { packets, delivered } = await iperf(host, address, { reverse, udp, port })
        assert.ok(delivered > packets * 0.95, `${id} ${delivered} of ${packets}`)
      }
      assert.match(await host.exec('ping', '-c2', '-i0.2', '-W2', '-s', '4000', GATEWAY), /2 received/)
      await host.moveTo(`192.0.2.${100 + index}`)
      const isBack = async () => (await host.attempt(['ping', '-c1', '-W1', GATEWAY])).code === 0
      await until('pings pass from the new address', isBack)
      assert.equal(client.connections, 1)
      await client.stop()
    })
  })

  test(`${name}: refusals say why`, async () => {
    await forEach(async ({ suite, root }) => {
      const id = `${suite}-3`
      const { host, pack } = await newClient(id)
      const disabled = await OpenvpnClient.connect(host, pack, { root })
      await controller.api.disableClient(id)
      // 2.5 ends by it, while 2.7 tries again.
      await disabled.says(/AUTH_FAILED.*disabled/)
      await disabled.process.kill()
      await controller.api.enableClient(id)
      const replaced = await OpenvpnClient.connect(host, pack, { root })
      const { content } = await controller.api.rekeyClient(id)
      await replaced.says(/AUTH_FAILED.*(replaced|rekey|newer)/)
      await replaced.process.ended
      const rekeyed = writePack(host, `${id}-rekeyed.ovpn`, Buffer.from(content).toString())
      const revoked = await OpenvpnClient.connect(host, rekeyed, { root })
      await controller.api.revokeClient(id)
      await revoked.says(/AUTH_FAILED.*revoked/)
      await revoked.process.ended
    })
  })

  test('OpenVPN 2.7 learns routes without a new connection, and names by one', async () => {
    const { host, pack } = await newClient('learner')
    const told = join(use.lab.directory, 'learner.names')
    const script = join(use.lab.directory, 'names.sh')
    writeFileSync(told, '')
    writeFileSync(script, `#!/bin/sh\n{ echo "$script_type"; export -p; } >> ${told}\n`, { mode: 0o755 })
    const args = ['--script-security', '2', '--dns-updown', script]
    const client = await OpenvpnClient.connect(host, pack, { root: NEW.root, args })
    /** What it was told last. */
    const names = () => {
      const text =
        readFileSync(told, 'utf8')
          .split(/^(?=dns-(?:up|down)$)/m)
          .at(-1) ?? ''
      const variables = [...text.matchAll(/(dns_server_1_\w+|dns_search_\w+)='?([^'\n]*)/g)]
      return [text.split('\n')[0], ...variables.map(([, key, value]) => `${key}=${value}`)].sort().join(' ')
    }
    const [search, server, ours] = [
      'dns_search_domain_1=lab.internal',
      `dns_server_1_address_1=${GATEWAY}`,
      'dns_server_1_resolve_domain_1=lab.internal',
    ]
    assert.equal(names(), ['dns-up', search, server, ours].join(' '))

    const knows = async (...cidrs: string[]) => {
      const show = (version: string) => ['ip', version, 'route', 'show', 'dev', 'tun0']
      const routes = await Promise.all(['-4', '-6'].map(version => host.attempt(show(version))))
      const found =
        routes
          .map(({ stdout }) => stdout)
          .join('')
          .match(/^(192\.168\.\S+|fd00:5\S+)/gm) ?? []
      return found.sort().join() === cidrs.sort().join()
    }
    const { api } = controller
    const learns = (...cidrs: string[]) => until(`it has ${cidrs}`, () => knows(...cidrs))
    await api.addRoute({ cidr: '192.168.5.0/24', via: 'client:site' })
    await learns('192.168.5.0/24')
    await api.addRoute({ cidr: 'fd00:5::/64', via: 'client:site' })
    await learns('192.168.5.0/24', 'fd00:5::/64')
    await api.removeRoute('192.168.5.0/24')
    await learns('fd00:5::/64')
    await until('it is connected', () => client.connections === 4)

    await api.setRouteUpdates({ over: 'later' })
    const mark = client.mark()
    await api.removeRoute('fd00:5::/64')
    await until('it is behind', async () => (await sessionOf('learner'))?.routesBehind)
    await sleep(2000)
    assert.equal(client.process.output.slice(mark), '', 'it was left alone')
    await api.setRouteUpdates({ over: 0 })
    await until('it is connected', () => client.connections === 5)
    await learns()
    assert.equal(client.handshakes, 1)
    assert.equal(names(), ['dns-up', search, server, ours].join(' '), 'as before')

    await api.changeDns({ forwarders: ['192.0.2.53'] })
    await until('all names are asked', () => names() === ['dns-up', search, server].join(' '))
    await api.changeDns({ enabled: false })
    await until('none is', () => names().startsWith('dns-down'))
    assert.deepEqual(complaints(client), [])
    await client.stop()
  })
})
