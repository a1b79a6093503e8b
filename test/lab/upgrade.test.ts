// Five controllers go over to the next version one after the other, under pings and iperf3: no client is out of reach for
// longer than a drain takes.
import assert from 'node:assert/strict'
import { cpSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { iperf, iperfServer } from './iperf.ts'
import { type Lab, until } from './lab.ts'
import { Mesh, type MeshClient } from './mesh.ts'
import { Ping } from './ping.ts'
import { useLab } from './suite.ts'

const NAMES = ['alpha', 'beta', 'gamma', 'delta', 'epsilon']
const NEXT = '0.0.0-next'
/** Seconds without an answer to a client that is sent on (see mesh-failover.test.ts). */
const DRAIN_SECONDS = 3
const TOP = join(import.meta.dirname, '../..')

/** This checkout, labelled with another version; its launcher. */
function nextBuild(lab: Lab): string {
  const build = join(lab.directory, 'next')
  mkdirSync(build)
  for (const each of ['node', 'mesh', 'state'])
    cpSync(join(TOP, each), join(build, each), { recursive: true })
  symlinkSync(join(TOP, 'node_modules'), join(build, 'node_modules'))
  const manifest = JSON.parse(readFileSync(join(TOP, 'package.json'), 'utf8'))
  writeFileSync(join(build, 'package.json'), JSON.stringify({ ...manifest, version: NEXT }))
  return join(build, 'node/cli/overmesh.js')
}

describe('a rolling upgrade of five controllers', () => {
  let mesh: Mesh
  let left: MeshClient
  let right: MeshClient

  const use = useLab('upgrade', async lab => {
    mesh = await Mesh.start(lab, NAMES)
    left = await mesh.connect('left', ['alpha', 'beta', 'gamma'])
    right = await mesh.connect('right', ['delta', 'epsilon', 'alpha'])
  })

  test('clients are moved, TCP goes on, and old and new versions are one mesh all the while', async () => {
    const launcher = nextBuild(use.lab)
    const { version } = JSON.parse(readFileSync(join(TOP, 'package.json'), 'utf8'))
    await iperfServer(right.host)
    const ping = await Ping.start(left.host, right.address, { interval: 0.1 })
    await ping.answered()
    for (const [index, controller] of mesh.controllers.entries()) {
      // A connection begun before the upgrade of a controller goes on after it.
      const transfer = iperf(left.host, right.address, { seconds: 6, udp: undefined })
      await controller.upgrade(launcher)
      await mesh.whole(20)
      await ping.answered(DRAIN_SECONDS)
      assert.ok((await transfer).bytes > 1_000_000, `TCP during the upgrade of ${controller.name}`)
      const { controllers } = await mesh.controllers[0].status()
      const versions = NAMES.map(name => controllers.find(each => each.name === name)?.version)
      assert.deepEqual(
        versions,
        NAMES.map((_, place) => (place <= index ? NEXT : version)),
      )
    }
    const { longestGap, duplicates } = await ping.stop()
    assert.ok(longestGap <= DRAIN_SECONDS, `${longestGap} s without traffic`)
    assert.equal(duplicates, 0)
  })

  test('everything that was there is there, and changes spread', async () => {
    for (const { name, host, address } of [left, right]) {
      await host.exec('ping', '-c', '1', '-W', '2', '10.77.0.1')
      assert.equal((await mesh.get('gamma').client(name)).address, address)
    }
    await mesh.get('epsilon').cli('client', 'disable', 'left')
    await until('it counts on alpha', async () => !(await mesh.get('alpha').client('left')).enabled, 5)
  })
})
