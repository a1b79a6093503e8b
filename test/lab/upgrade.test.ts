// Five controllers go over to the next version one after the other, under pings and iperf3: no client is out of reach for
// longer than a drain takes, and the two versions are one mesh all the while, whatever the newer one has to say.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import type { StateRecord, Status } from '../../node/service.ts'
import { makeNextBuild, nextVersion } from '../next-build.ts'
import type { Controller } from './controller.ts'
import { iperf, iperfServer } from './iperf.ts'
import { until } from './lab.ts'
import { Mesh, type MeshClient } from './mesh.ts'
import { Ping } from './ping.ts'
import { useLab } from './suite.ts'

const NAMES = ['alpha', 'beta', 'gamma', 'delta', 'epsilon']
const NEXT = nextVersion()
const { version: THIS } = JSON.parse(readFileSync(join(import.meta.dirname, '../../package.json'), 'utf8'))
/** Seconds without an answer to a client that is sent on. */
const DRAIN_SECONDS = 1

/** How a client's record, and the group that the next version makes with it, look on a controller. */
async function recordsOf(controller: Controller, name: string): Promise<(StateRecord | undefined)[]> {
  const state = JSON.parse(await controller.cli('state', '--json')) as StateRecord[]
  const client = state.find(
    ({ kind, value }) => kind === 'client' && (value as { name: string }).name === name,
  )
  return [client, state.find(({ kind, id }) => kind === 'group' && id === name)]
}

function protocols(status: Status): Record<string, number> {
  return Object.fromEntries(
    status.controllers.flatMap(each => (each.self ? [] : [[each.name, each.protocol]])),
  )
}

describe('a rolling upgrade of five controllers', () => {
  let mesh: Mesh
  let left: MeshClient
  let right: MeshClient
  let launcher: string

  const use = useLab('upgrade', async lab => {
    launcher = makeNextBuild(join(lab.directory, 'next'))
    mesh = await Mesh.start(lab, NAMES)
    left = await mesh.connect('left', ['alpha', 'beta', 'gamma'])
    right = await mesh.connect('right', ['delta', 'epsilon', 'alpha'])
  })

  test('clients are moved, TCP goes on, and old and new versions are one mesh all the while', async () => {
    assert.ok(use.lab)
    await iperfServer(right.host)
    const pings = [
      await Ping.start(left.host, right.address, { interval: 0.05 }),
      await Ping.start(right.host, left.address, { interval: 0.05 }),
    ]
    for (const ping of pings) await ping.answered()
    for (const [index, controller] of mesh.controllers.entries()) {
      // A connection begun before the upgrade of a controller goes on after it.
      const transfer = iperf(left.host, right.address, { seconds: 6, udp: undefined })
      await controller.upgrade(launcher)
      await mesh.whole(20)
      for (const ping of pings) await ping.answered()
      assert.ok((await transfer).bytes > 1_000_000, `TCP during the upgrade of ${controller.name}`)
      await checkVersions(index)
      if (index % 2 === 0) await checkRecords(index, `made-${index}`)
    }
    for (const ping of pings) {
      const { longestGap, duplicates } = await ping.stop()
      process.stdout.write(`${longestGap.toFixed(2)} s without traffic at the most\n`)
      assert.ok(longestGap <= DRAIN_SECONDS, `${longestGap} s without traffic`)
      assert.equal(duplicates, 0)
    }
  })

  /** Those up to `index` are upgraded: each two speak the highest version that both know, and status tells of the mix. */
  async function checkVersions(index: number): Promise<void> {
    const isNew = (name: string) => NAMES.indexOf(name) <= index
    for (const controller of [mesh.controllers[0], mesh.controllers[4]]) {
      const status = await controller.status()
      const versions = NAMES.map(name => status.controllers.find(each => each.name === name)?.version)
      assert.deepEqual(
        versions,
        NAMES.map(name => (isNew(name) ? NEXT : THIS)),
      )
      for (const [name, protocol] of Object.entries(protocols(status)))
        assert.equal(
          protocol,
          isNew(name) && isNew(controller.name) ? 2 : 1,
          `${controller.name} with ${name}`,
        )
      const isMixed = status.warnings.some(warning => warning.includes('different versions of Overmesh'))
      assert.equal(isMixed, index < 4, status.warnings.join('; '))
    }
  }

  /** What the upgraded one writes is on all, byte for byte, and survives a change made by an older one. */
  async function checkRecords(index: number, name: string): Promise<void> {
    const [writer, other] = [mesh.controllers[index], mesh.controllers[4]]
    await writer.addClient(name)
    await mesh.whole(5)
    const note = `by ${writer.name}`
    const [client, group] = await recordsOf(other, name)
    assert.equal((client?.value as { note?: string } | undefined)?.note, note)
    assert.deepEqual(group?.value, { members: [client?.id] })
    const isOld = index < 4
    assert.deepEqual(
      [client?.understood, group?.understood],
      isOld ? ['part', 'nothing'] : ['whole', 'whole'],
    )
    const { warnings } = await other.status()
    assert.equal(
      warnings.some(warning => warning.includes('records of a newer Overmesh')),
      isOld,
    )
    await other.cli('client', 'disable', name)
    await mesh.whole(5)
    for (const controller of [writer, other]) {
      const [changed] = await recordsOf(controller, name)
      assert.deepEqual(changed?.value, { ...(client?.value as object), enabled: false })
    }
    const verified = JSON.parse(await other.cli('state', 'verify', '--json'))
    assert.ok(verified.ok, JSON.stringify(verified))
  }

  test('everything that was there is there, and changes spread', async () => {
    for (const { name, host, address } of [left, right]) {
      await host.exec('ping', '-c', '1', '-W', '2', '10.77.0.1')
      assert.equal((await mesh.get('gamma').client(name)).address, address)
    }
    await mesh.get('epsilon').cli('client', 'disable', 'left')
    await until('it counts on alpha', async () => !(await mesh.get('alpha').client('left')).enabled, 5)
  })

  test('a controller goes back by one version with the data of the newer one, and up again', async () => {
    const gamma = mesh.get('gamma')
    const before = await recordsOf(gamma, 'made-0')
    await gamma.upgrade(join(import.meta.dirname, '../../node/cli/overmesh.js'))
    await mesh.whole(20)
    const [client, group] = await recordsOf(gamma, 'made-0')
    assert.deepEqual([client?.understood, group?.understood], ['part', 'nothing'])
    assert.deepEqual([client?.value, group?.value], [before[0]?.value, before[1]?.value])
    await gamma.cli('client', 'enable', 'made-0')
    await gamma.upgrade(launcher)
    await mesh.whole(20)
    assert.deepEqual((await recordsOf(gamma, 'made-0'))[0]?.value, {
      ...(before[0]?.value as object),
      enabled: true,
    })
  })
})
