// Access is given, taken away and given back while clients are connected.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Controller } from './controller.ts'
import { until } from './lab.ts'
import { OpenvpnClient } from './openvpn-client.ts'
import { Ping } from './ping.ts'
import { useLab } from './suite.ts'

/** Within so long after the command has returned, no packet passes any more. */
const MAX_END_SECONDS = 1

describe('access of a client', () => {
  let controller: Controller
  const use = useLab('credentials', async lab => {
    controller = await Controller.start(await lab.host('hub'))
  })

  /** A connected client that pings the gateway, and a way to see how fast a command ends its session. */
  async function connected(name: string) {
    const host = await use.lab.host(name)
    const pack = await controller.addClient(name)
    const client = await OpenvpnClient.connect(host, pack)
    const ping = await Ping.start(host, '10.77.0.1', { interval: 0.02 })
    await ping.answered()
    const endsBy = async (...command: string[]): Promise<number> => {
      await controller.cli(...command)
      const returned = Date.now() / 1000
      await until('the session is gone', async () => (await controller.client(name)).session === null, 5)
      return (await ping.stop()).lastAnswerAt - returned
    }
    return { host, pack, client, ping, endsBy }
  }

  const refused = async (name: string, pack: string, reason: RegExp): Promise<void> => {
    const host = use.lab.hosts.get(name)!
    const again = await OpenvpnClient.start(host, pack)
    await again.says(new RegExp(`AUTH_FAILED.*${reason.source}`, 'i'))
    assert.equal((await controller.client(name)).session, null)
    await again.stop()
  }

  test('revoke ends the session within a second, for good, and the log says why', async () => {
    const { client, pack, endsBy } = await connected('revoked')
    assert.ok((await endsBy('client', 'revoke', 'revoked')) < MAX_END_SECONDS)
    await client.says(/AUTH_FAILED.*revoked/i, 5)
    await client.stop()
    await refused('revoked', pack, /revoked/)
    assert.equal((await controller.client('revoked')).revoked, true)
    assert.equal((await controller.attempt(['client', 'enable', 'revoked'])).code, 1)
  })

  test('disable ends the session within a second, and enable lets the client back in', async () => {
    const { host, client, pack, endsBy } = await connected('paused')
    assert.ok((await endsBy('client', 'disable', 'paused')) < MAX_END_SECONDS)
    await client.says(/AUTH_FAILED.*disabled/i, 5)
    await client.stop()
    await refused('paused', pack, /disabled/)
    await controller.cli('client', 'enable', 'paused')
    const again = await OpenvpnClient.connect(host, pack)
    await host.exec('ping', '-c', '3', '-i', '0.1', '-W', '2', '10.77.0.1')
    await again.stop()
  })

  test('rekey ends the session, makes the old pack useless, and the new one keeps the address', async () => {
    const { host, client, pack, endsBy } = await connected('renewed')
    const address = await client.address()
    const fresh = `${pack}.new`
    assert.ok((await endsBy('client', 'rekey', 'renewed', '--out', fresh)) < MAX_END_SECONDS)
    await client.stop()
    await refused('renewed', pack, /./)
    const again = await OpenvpnClient.connect(host, fresh)
    assert.equal(await again.address(), address)
    await host.exec('ping', '-c', '3', '-i', '0.1', '-W', '2', '10.77.0.1')
    await again.stop()
  })

  test('kick ends the session, and the client comes back by itself', async () => {
    const { client, ping, host } = await connected('kicked')
    const mark = client.mark()
    const since = (await controller.client('kicked')).session!.since
    await controller.cli('client', 'kick', 'kicked')
    await client.connected(15, mark)
    assert.notEqual((await controller.client('kicked')).session!.since, since)
    await host.exec('ping', '-c', '3', '-i', '0.1', '-W', '2', '10.77.0.1')
    await ping.stop()
    await client.stop()
  })

  test('an address given by hand is held, once', async () => {
    const pack = await controller.addClient('fixed', '--ip', '10.77.3.4')
    const host = await use.lab.host('fixed')
    const client = await OpenvpnClient.connect(host, pack)
    assert.equal(await client.address(), '10.77.3.4')
    const second = await controller.attempt(['client', 'add', 'thief', '--ip', '10.77.3.4'])
    assert.equal(second.code, 1)
    assert.match(second.stderr, /^overmesh: .*10\.77\.3\.4/)
    await client.stop()
  })

  test('a pack written again still works', async () => {
    await controller.addClient('again')
    const path = `${use.lab.directory}/again-2.ovpn`
    await controller.cli('client', 'pack', 'again', '--out', path)
    const client = await OpenvpnClient.connect(await use.lab.host('again'), path)
    await client.stop()
  })

  test('events tell what happened', async () => {
    const lines = (await controller.cli('events', '--json')).trim().split('\n')
    const events = lines.map(line => JSON.parse(line) as { type: string; at: string; seq: number })
    assert.ok(events.length > 10)
    assert.ok(events.every((event, index) => index === 0 || event.seq > events[index - 1].seq))
    assert.ok(lines.some(line => line.includes('revoked')))
  })
})
