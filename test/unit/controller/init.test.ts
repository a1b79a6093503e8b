// A new mesh in an empty directory, and what init refuses.
import assert from 'node:assert/strict'
import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { initMesh } from '../../../node/init.ts'
import type { AddRoute } from '../../../node/service.ts'
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

test('names that DNS cannot carry are refused for a mesh and for its controller', async t => {
  const dataDir = await temporaryDirectory(t)
  for (const names of [{ name: 'prod.' }, { name: 'a..b' }, { controller: 'alpha.' }]) {
    await assert.rejects(initMesh({ ...REQUEST, dataDir, ...names }), {
      code: 'invalid',
      message: /is no name that DNS can carry; write no dot at its end and no two in a row/,
    })
  }
  await assert.rejects(stat(dataDir), { code: 'ENOENT' })
})

test('what nobody can dial is no controller, told or found by where it listens', async t => {
  const dataDir = await temporaryDirectory(t)
  const subnet6 = 'fd00:77::/64'
  const told = (endpoint: string) => ({ ...REQUEST, dataDir, subnet6, public: ['vpn.example.net', endpoint] })
  for (const [request, message] of [
    [told('10.77.0.9'), /10\.77\.0\.9 is in the overlay's own 10\.77\.0\.0\/24/],
    [told('[fd00:77::9]:99'), /fd00:77::9 is in the overlay's own fd00:77::\/64/],
    [told('224.0.0.1'), /multicast/],
    [
      { ...told(''), public: [], listen: ['10.77.0.9:1194'] },
      /10\.77\.0\.9 is in .* give the address or name/,
    ],
  ] as const) {
    await assert.rejects(initMesh(request), { code: 'invalid', message })
    await assert.rejects(stat(dataDir), { code: 'ENOENT' })
  }
  assert.deepEqual((await initMesh(told('127.0.0.1'))).public, ['vpn.example.net:1194', '127.0.0.1:1194'])
})

for (const [subnet, reason] of [
  ['10.77.0.5/24', /host/],
  ['10.77.0.0/31', /\/30/],
  ['10.77.0.0/7', /host|\/8/],
  ['banana', /prefix/],
  ['fd00::/64', /prefix/],
  ['127.0.0.0/8', /loopback/],
  ['0.0.0.0/8', /"this network"/],
  ['169.254.8.0/24', /link-local/],
  ['224.0.0.0/8', /multicast/],
  ['240.0.0.0/8', /reserved/],
] as const) {
  test(`the subnet ${subnet} is refused, and no directory made`, async t => {
    const dataDir = await temporaryDirectory(t)
    await assert.rejects(initMesh({ ...REQUEST, dataDir, subnet }), { code: 'invalid', message: reason })
    await assert.rejects(stat(dataDir), { code: 'ENOENT' })
  })
}

test('with an IPv6 prefix, addresses have an IPv6 side that follows from them', async t => {
  const dataDir = await temporaryDirectory(t)
  const made = await initMesh({ ...REQUEST, dataDir, subnet6: 'FD00:77:0::/64' })
  assert.equal(made.address, '10.77.0.2')
  assert.equal(made.address6, 'fd00:77::a4d:2')
  assert.equal(made.gateway6, 'fd00:77::a4d:1')
  await withService(dataDir, async service => {
    const { mesh, controller } = await service.status()
    assert.equal(mesh.subnet6, 'fd00:77::/64')
    assert.deepEqual([controller.address6, controller.gateway6], [made.address6, made.gateway6])
    const { client } = await service.addClient({
      name: 'web',
      subnets: ['2001:db8:5::/48', '192.168.5.0/24'],
    })
    assert.equal(client.address6, 'fd00:77::a4d:3')
    assert.deepEqual(client.subnets, ['2001:db8:5::/48', '192.168.5.0/24'])
    const routes = await service.routes()
    assert.ok(routes.some(({ cidr, via }) => cidr === '2001:db8:5::/48' && via === 'client:web'))
    for (const [subnet, reason] of [
      ['2001:db8:5::1/48', /names a host/],
      ['fd00:77::/96', /overlaps the overlay/],
      ['fd00::/16', /overlaps the overlay/],
      ['::/0', /overlaps the overlay/],
      ['2000::/3', /more than anyone owns/],
      ['ff05::/32', /nothing that a host can have/],
      ['2001:db8:::/48', /no IPv6 prefix/],
    ] as const) {
      const adding = service.addClient({ name: 'bad', subnets: [subnet] })
      await assert.rejects(adding, { code: 'invalid', message: reason }, subnet)
    }
    await service.addClient({ name: 'other' })
    const add = async (cidr: string, rest: Partial<AddRoute> = {}) =>
      (await service.addRoute({ cidr, via: 'client:web', ...rest })).notes.join('\n')
    assert.equal(await add('2001:db8:6::/48'), '')
    assert.match(await add('2001:db8:6::/48', { via: 'client:other', metric: 5 }), /client:web \(metric 0\)/)
    assert.match(await add('2001:db8:6:1::/64'), /lies within 2001:db8:6::\/48 \(client:\w+\) and wins there/)
    assert.match(await add('2001:db8::/32'), /goes on to win: 2001:db8:5::\/48 \(client:web\)/)
    for (const [what, request, code, reason] of [
      ['the same again', { cidr: '2001:db8:6:0::/48' }, 'exists', /has a route via client:web already/],
      ['its own subnet', { cidr: '2001:db8:5::/48' }, 'exists', /as its own subnet/],
      ['host bits', { cidr: '2001:db8:6::1/48' }, 'invalid', /the prefix is 2001:db8:6::\/48/],
      ['the overlay', { cidr: 'fd00:77::/80' }, 'invalid', /overlaps the overlay/],
      ['a default', { cidr: '::/0' }, 'invalid', /all traffic of every client.*--default/],
      ['NAT', { cidr: '2001:db8:9::/48', nat: true }, 'invalid', /--nat is for controllers/],
      ['nobody', { cidr: '2001:db8:9::/48', via: 'client:nobody' }, 'not-found', /no client is named/],
      ['an address', { cidr: '2001:db8:9::1' }, 'invalid', /one host is 2001:db8:9::1\/128/],
    ] as const)
      await assert.rejects(add(request.cidr, request), { code, message: reason }, what)
    const { routes: desired } = await service.desiredState()
    const wanted = desired!.map(({ cidr, via, metric }) => [cidr, via, metric])
    assert.ok(wanted.some(each => each.join() === '2001:db8:6::/48,client:other,5'))
    assert.equal((await service.removeRoute('2001:db8:6:0::/48', 'client:web')).changed, 1)
    const left = (await service.routes()).filter(({ cidr }) => cidr === '2001:db8:6::/48')
    assert.partialDeepStrictEqual(left, [{ via: 'client:other', metric: 5 }])
  })
})

test('in an overlay of IPv4 only nothing is said of IPv6, and prefixes of it are refused with the reason', async t => {
  const dataDir = await newMesh(t)
  await withService(dataDir, async service => {
    const { mesh, controller } = await service.status()
    assert.deepEqual(
      [mesh.subnet6, controller.address6, controller.gateway6],
      [undefined, undefined, undefined],
    )
    const adding = service.addClient({ name: 'web', subnets: ['2001:db8:5::/48'] })
    await assert.rejects(adding, { code: 'invalid', message: /this overlay has IPv4 only; `init --subnet6`/ })
    assert.equal('address6' in (await service.addClient({ name: 'web' })).client, false)
  })
})

for (const [subnet6, reason] of [
  ['10.78.0.0/16', /no IPv6 prefix/],
  ['fd00:77::1/64', /names a host/],
  ['fd00:77::/97', /last 32 bits/],
  ['fe80::/64', /unique local/],
  ['::/96', /unique local/],
] as const) {
  test(`the IPv6 subnet ${subnet6} is refused, and no directory made`, async t => {
    const dataDir = await temporaryDirectory(t)
    await assert.rejects(initMesh({ ...REQUEST, dataDir, subnet6 }), { code: 'invalid', message: reason })
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
