// The controller dies at any moment, and comes back: whatever it had acknowledged is there, and clients return by themselves.
import assert from 'node:assert/strict'
import { randomInt } from 'node:crypto'
import { describe, test } from 'node:test'
import { RemoteController } from '../../node/api/remote.ts'
import { apiSocketPath } from '../../node/api/socket.ts'
import type { Client } from '../../node/service.ts'
import { Controller } from './controller.ts'
import { sleep } from './lab.ts'
import { OpenvpnClient } from './openvpn-client.ts'
import { Ping } from './ping.ts'
import { useLab } from './suite.ts'

const CRASHES = 10

/** What the operator was told is done. */
interface Acknowledged {
  added: Map<string, { address: string; serial: string }>
  disabled: Set<string>
  revoked: Set<string>
}

describe('kill -9 of the controller', () => {
  let controller: Controller
  let client: OpenvpnClient
  const done: Acknowledged = { added: new Map(), disabled: new Set(), revoked: new Set() }
  let next = 0

  const use = useLab('crash', async lab => {
    controller = await Controller.start(await lab.host('hub'), { upArgs: ['--log-level', 'warn'] })
    client = await OpenvpnClient.connect(await lab.host('client'), await controller.addClient('steady'))
  })

  /** Adds, disables and revokes without a pause until the controller is killed. */
  async function operate(killed: AbortSignal): Promise<void> {
    const api = new RemoteController(apiSocketPath(controller.dataDir))
    try {
      for (;;) {
        const name = `c${next++}`
        const { client: added } = await api.addClient({ name })
        done.added.set(name, { address: added.address, serial: added.serial })
        if (next % 3 === 0) {
          await api.revokeClient(name)
          done.revoked.add(name)
        } else if (next % 3 === 1) {
          await api.disableClient(name)
          done.disabled.add(name)
        }
      }
    } catch (error) {
      if (!killed.aborted) throw error
    }
  }

  function check(clients: Client[]): void {
    const byName = new Map(clients.map(each => [each.name, each]))
    for (const [name, { address, serial }] of done.added) {
      const found = byName.get(name)
      assert.ok(found, `${name} was acknowledged and is gone`)
      assert.equal(found.serial, serial)
      if (!done.revoked.has(name)) assert.equal(found.address, address)
    }
    for (const name of done.revoked) assert.equal(byName.get(name)?.revoked, true, `${name} was revoked`)
    for (const name of done.disabled) assert.equal(byName.get(name)?.enabled, false, `${name} was disabled`)
    const held = clients.filter(each => !each.revoked).map(each => each.address)
    assert.equal(new Set(held).size, held.length, 'no address is held twice')
  }

  test(`${CRASHES} times in the midst of writes loses nothing acknowledged`, {
    timeout: 300_000,
  }, async () => {
    for (let crash = 0; crash < CRASHES; crash++) {
      const killed = new AbortController()
      const operating = operate(killed.signal)
      await sleep(randomInt(50, 1500))
      killed.abort()
      await controller.process.kill()
      await operating
      await controller.up()
      check(await controller.clients())
      assert.equal(JSON.parse(await controller.cli('state', 'verify', '--json')).ok, true)
    }
    assert.ok(done.added.size >= CRASHES, `${done.added.size} clients were added`)
  })

  test('clients come back by themselves, within seconds', async () => {
    await client.host.exec('ping', '-c', '1', '-w', '20', '10.77.0.1')
    const ping = await Ping.start(client.host, '10.77.0.1', { interval: 0.05 })
    await ping.answered()
    await controller.process.kill()
    // As one leaves it that is killed while its IKE daemon starts: this one needs none.
    for (const table of ['ike', 'early', 'parting'])
      await controller.host.exec('nft', `add table inet overmesh_${table}`)
    await controller.up()
    await ping.answered(20)
    assert.doesNotMatch(await controller.host.exec('nft', 'list', 'tables'), /overmesh_(ike|early|parting)/)
    const { longestGap } = await ping.stop()
    assert.ok(longestGap < 12, `${longestGap} s without traffic`)
    assert.equal((await controller.client('steady')).session?.client, 'steady')
  })

  test('a stop by SIGTERM is clean, and clients come back at once after the next start', async () => {
    const ping = await Ping.start(client.host, '10.77.0.1', { interval: 0.05 })
    await ping.answered()
    const mark = client.mark()
    const { code } = await controller.process.stop('SIGTERM')
    assert.equal(code, 0)
    await client.says(/RESTART|restart/i, 5, mark)
    await controller.up()
    await ping.answered(15)
    await ping.stop()
  })

  test('SIGINT stops it, too', async () => {
    assert.equal((await controller.process.stop('SIGINT')).code, 0)
    check(await controller.clients())
    await controller.up()
  })

  test('commands that work on the data directory itself lose nothing, either', async () => {
    await controller.process.stop()
    for (let attempt = 0; attempt < 5; attempt++) {
      const name = `offline-${attempt}`
      const argv = ['client', 'add', name, '--out', `${use.lab.directory}/${name}.ovpn`]
      const command = await use.lab.spawn(name, controller.commandLine(...argv))
      await sleep(randomInt(100, 900))
      await command.kill()
      const clients = await controller.clients()
      const acknowledged = command.output.length > 0 && (await command.ended).code === 0
      if (acknowledged) assert.ok(clients.some(each => each.name === name))
      check(clients)
    }
    assert.equal(JSON.parse(await controller.cli('state', 'verify', '--json')).ok, true)
    await controller.up()
  })
})
