// The keys of backbone links are renewed under traffic, again and again, by two controllers and through a third.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { sleep } from './lab.ts'
import { Mesh, type MeshClient } from './mesh.ts'
import { Ping } from './ping.ts'
import { useLab } from './suite.ts'

const KEY_SECONDS = 4
const SECONDS = 30

describe('keys of backbone links', () => {
  let mesh: Mesh
  let near: MeshClient
  let far: MeshClient

  useLab('mesh-keys', async lab => {
    mesh = await Mesh.start(lab, ['alpha', 'beta'], { sessionKeySeconds: KEY_SECONDS })
    near = await mesh.connect('near', ['alpha'])
    far = await mesh.connect('far', ['beta'])
  })

  test(`roll over every ${KEY_SECONDS} s, and no ping is lost`, async () => {
    const ping = await Ping.start(near.host, far.address, { interval: 0.01 })
    await ping.answered()
    await sleep(SECONDS * 1000)
    const { sent, lost, duplicates } = await ping.stop()
    assert.ok(sent > 50 * SECONDS, `${sent} pings`)
    assert.deepEqual({ lost, duplicates }, { lost: 0, duplicates: 0 })
    for (const controller of mesh.controllers)
      assert.equal(await controller.counter(/badTag|unknownKey/), 0, `${controller.name} took every packet`)
  })
})
