// Controllers die, drain and come back; clients go to the next one, keep their addresses, and nobody else notices.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { sleep, until } from './lab.ts'
import { Mesh, type MeshClient } from './mesh.ts'
import { Ping } from './ping.ts'
import { useLab } from './suite.ts'

const NAMES = ['alpha', 'beta', 'gamma', 'delta', 'epsilon']
/** Times that a controller in use is killed here; the benchmark does it more often. */
const KILLS = 4

describe('five controllers, one of which dies', () => {
  let mesh: Mesh
  let roaming: MeshClient
  let steady: MeshClient
  let other: MeshClient

  useLab('failover', async lab => {
    mesh = await Mesh.start(lab, NAMES)
    roaming = await mesh.connect('roaming', ['beta', 'gamma'])
    steady = await mesh.connect('steady', ['alpha'])
    other = await mesh.connect('other', ['delta'])
  })

  test(`kill -9, ${KILLS} times: back elsewhere, same address, and others lose nothing`, async () => {
    for (let kill = 0; kill < KILLS; kill++) {
      const used = await mesh.whereIs('roaming')
      const victim = mesh.get(used!)
      const [moved, quiet] = [
        await Ping.start(steady.host, roaming.address),
        await Ping.start(steady.host, other.address),
      ]
      await moved.answered()
      await quiet.answered()
      await victim.process.kill()
      await sleep(200)
      await moved.answered(10)
      const gone = await moved.stop()
      const untouched = await quiet.stop()
      // How long it takes is the benchmark's to say; this is when something is wrong.
      assert.ok(gone.longestGap <= 8, `${gone.longestGap} s without traffic`)
      assert.equal(untouched.lost, 0)
      assert.equal(await roaming.openvpn.address(), roaming.address)
      const now = await mesh.whereIs('roaming')
      assert.notEqual(now, victim.name)
      assert.ok(['beta', 'gamma'].includes(now!))
      const back = await Ping.start(steady.host, roaming.address)
      await back.answered()
      const mark = roaming.openvpn.mark()
      await victim.up()
      await mesh.whole(20)
      const { lost } = await back.stop()
      assert.equal(lost, 0, 'lost while the killed controller came back')
      assert.equal(await mesh.whereIs('roaming', victim), now)
      assert.equal(roaming.openvpn.process.count(/Initialization Sequence Completed/), kill + 2)
      assert.ok(mark >= 0)
    }
  })

  test('drain: the client goes elsewhere at once, and new ones are not taken', async () => {
    const used = mesh.get((await mesh.whereIs('roaming'))!)
    const ping = await Ping.start(steady.host, roaming.address)
    await ping.answered()
    await used.cli('drain')
    await until(
      'it has moved',
      async () => ![undefined, used.name].includes(await mesh.whereIs('roaming')),
      5,
    )
    await ping.answered()
    const { longestGap } = await ping.stop()
    assert.ok(longestGap <= 3, `${longestGap} s without traffic`)
    assert.equal((await used.sessions()).filter(each => each.controller === used.name).length, 0)
    await used.cli('drain', '--undo')
  })

  test('SIGTERM drains, too', async () => {
    const used = mesh.get((await mesh.whereIs('roaming'))!)
    const ping = await Ping.start(steady.host, roaming.address)
    await ping.answered()
    assert.equal((await used.process.stop('SIGTERM')).code, 0)
    await ping.answered(5)
    const { longestGap } = await ping.stop()
    assert.ok(longestGap <= 3, `${longestGap} s without traffic`)
    await used.up()
    await mesh.whole(20)
  })

  test('all but one controller die: the last one serves alone, and takes changes', async () => {
    const [alpha, ...rest] = mesh.controllers
    const lonely = await mesh.connect('lonely', ['beta', 'gamma', 'delta', 'epsilon', 'alpha'])
    await Promise.all(rest.map(each => each.process.kill()))
    await lonely.openvpn.connected(60, lonely.openvpn.mark()).catch(() => {})
    await until('it is on alpha', async () => (await mesh.whereIs('lonely')) === 'alpha', 60)
    await lonely.host.exec('ping', '-c', '2', '-W', '2', steady.address)
    const result = await alpha.attempt(['client', 'disable', 'other', '--json'])
    assert.equal(result.code, 0, result.stderr)
    assert.deepEqual(JSON.parse(result.stdout).storedOn, { controllers: 1, of: 5 })
    await Promise.all(rest.map(each => each.up()))
    await mesh.whole(30)
    for (const each of rest) assert.equal((await each.client('other')).enabled, false)
    await alpha.cli('client', 'enable', 'other')
  })
})
