// A new mesh in an empty directory, and what init refuses.
import assert from 'node:assert/strict'
import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { initMesh } from '../../../node/init.ts'
import { newMesh, temporaryDirectory, withService } from './home.ts'

const REQUEST = {
  name: 'prod',
  subnet: '10.77.0.0/24',
  controller: 'alpha',
  public: [],
  listen: ['192.0.2.9:1194'],
  meshListen: '0.0.0.0:4001',
}

test('init makes a mesh that opens again, with secrets for their owner alone', async t => {
  const dataDir = await newMesh(t)
  const status = await withService(dataDir, service => service.status())
  assert.equal(status.mesh.name, 'prod')
  assert.equal(status.controller.gateway, '10.77.0.1')
  assert.notEqual(status.controller.address, status.controller.gateway)
  assert.deepEqual(status.controller.public, ['vpn.example.net:1194'])
  assert.deepEqual(status.conflicts, [])
  assert.deepEqual(status.warnings, [])
  for (const path of [dataDir, join(dataDir, 'pki'), join(dataDir, 'secrets'), join(dataDir, 'authority')]) {
    assert.equal((await stat(path)).mode & 0o777, 0o700, path)
    for (const entry of await readdir(path, { withFileTypes: true })) {
      if (entry.isFile()) assert.equal((await stat(join(path, entry.name))).mode & 0o777, 0o600, entry.name)
    }
  }
})

test('without --public, clients dial where the controller listens', async t => {
  const dataDir = await temporaryDirectory(t)
  const made = await initMesh({ ...REQUEST, dataDir })
  assert.deepEqual(made.public, ['192.0.2.9:1194'])
})

for (const [subnet, reason] of [
  ['10.77.0.5/24', /host/],
  ['10.77.0.0/31', /\/30/],
  ['10.77.0.0/7', /host|\/8/],
  ['banana', /prefix/],
  ['fd00::/64', /prefix/],
] as const) {
  test(`the subnet ${subnet} is refused, and no directory made`, async t => {
    const dataDir = await temporaryDirectory(t)
    await assert.rejects(initMesh({ ...REQUEST, dataDir, subnet }), { code: 'invalid', message: reason })
    await assert.rejects(stat(dataDir), { code: 'ENOENT' })
  })
}

test('a directory that holds anything is left as it is', async t => {
  const dataDir = await temporaryDirectory(t)
  await mkdir(dataDir)
  await writeFile(join(dataDir, 'thesis.txt'), 'ten years of work')
  await assert.rejects(initMesh({ ...REQUEST, dataDir }), { code: 'NOT_EMPTY' })
  assert.deepEqual(await readdir(dataDir), ['thesis.txt'])
  assert.equal(await readFile(join(dataDir, 'thesis.txt'), 'utf8'), 'ten years of work')
})

test('an existing mesh is not made anew', async t => {
  const dataDir = await newMesh(t)
  const before = await withService(dataDir, service => service.status())
  await assert.rejects(initMesh({ ...REQUEST, dataDir }), {
    code: 'NOT_EMPTY',
    message: /holds a controller/,
  })
  const after = await withService(dataDir, service => service.status())
  assert.equal(after.stateHash, before.stateHash)
})

test('smallest and largest subnets work', async t => {
  for (const subnet of ['10.0.0.0/8', '10.77.0.0/29']) {
    const dataDir = await newMesh(t, { subnet })
    const pack = await withService(dataDir, service => service.addClient({ name: 'web' }))
    assert.match(pack.client.address, /^10\./)
  }
})
