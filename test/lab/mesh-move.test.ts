// A controller that moves: to another address and port, with the mesh and its clients after it.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Controller } from './controller.ts'
import { until } from './lab.ts'
import { Mesh, type MeshClient } from './mesh.ts'
import { useLab } from './suite.ts'

let mesh: Mesh
let alpha: Controller
let beta: Controller
let client: MeshClient
let pack: string

useLab('move', async lab => {
  mesh = await Mesh.start(lab, ['alpha', 'beta'])
  ;[alpha, beta] = mesh.controllers
  const host = await lab.host('client')
  pack = mesh.orderPack(await alpha.addClient('client'), ['alpha', 'beta'])
  client = await mesh.connectWith('client', host, pack)
})

test('it is moved while it is stopped; peers and new packs dial it where it is, old packs find the mesh by the others', async () => {
  const refused = await alpha.attempt(['controller', 'move', '--listen', '0.0.0.0:1195'])
  assert.equal(refused.code, 1)
  assert.match(refused.stderr, /a controller is running on .*stop it first/)

  const before = alpha.host.ip4
  await alpha.process.stop('SIGTERM')
  await until('its client is on the other', async () => (await mesh.whereIs('client', beta)) === 'beta', 15)
  const to = before.replace(/\d+$/, '240')
  await alpha.host.moveTo(to)
  const listen = ['--listen', '0.0.0.0:1195', '--mesh-listen', '0.0.0.0:4002']
  const place = await alpha.json<object>('controller', 'move', '--public', `${to}:1195`, ...listen)
  assert.deepEqual(place, {
    public: [`${to}:1195`],
    mesh: [`${to}:4002`],
    listen: ['0.0.0.0:1195'],
    meshListen: '0.0.0.0:4002',
    gone: [`${before}:1194`],
    sites: [],
  })

  await alpha.up()
  await mesh.whole()
  const heard = (
    await beta.json<{ name: string; public: string[]; mesh: string[] }[]>('controller', 'list')
  ).find(each => each.name === 'alpha')
  assert.deepEqual([heard?.public, heard?.mesh], [[`${to}:1195`], [`${to}:4002`]])
  const newcomer = await mesh.connect('newcomer', ['alpha'], { by: beta })
  await until('it is there', async () => (await mesh.whereIs('newcomer', beta)) === 'alpha', 10)
  await newcomer.host.exec('ping', '-c', '3', '-i', '0.2', '-W', '2', client.address)
  await client.openvpn.stop()
  await mesh.connectWith('client', client.host, pack)
  assert.equal(await mesh.whereIs('client', beta), 'beta')

  // Peers find it by their own dialling, too: it reaches nobody itself.
  await beta.process.stop('SIGTERM')
  await alpha.host.exec('nft', 'add table inet lab')
  await alpha.host.exec('nft', 'add chain inet lab output { type filter hook output priority 0; }')
  await alpha.host.exec('nft', 'add rule inet lab output tcp dport 4001 drop')
  await beta.up()
  await mesh.whole()
})
