// A controller that runs in this process, without a TUN: renewal of its certificates, and what a client notices of what
// the operator does.
import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import pino from 'pino'
import { Controller } from '../../../node/controller.ts'
import type { InitRequest } from '../../../node/init.ts'
import type { Pack } from '../../../node/service.ts'
import { DEFAULT_PROTO } from '../../../node/vpn/client.ts'
import { OPCODE, opcodeOf } from '../../../node/vpn/packet.ts'
import { IV_PROTO } from '../../../node/vpn/peer-info.ts'
import { routesOf } from '../../../node/vpn/pushed-options.ts'
import { addressOf, UdpClient } from '../../../node/vpn/udp-client.ts'
import { newMesh, patientProfile } from './home.ts'
import { UdpRelay } from './udp-relay.ts'

const TIMEOUT = 20_000

async function run(t: TestContext, request: Partial<InitRequest> = {}) {
  const dataDir = await newMesh(t, request)
  const certificate = await readCertificate(dataDir, 'server.crt')
  const logger = pino({ level: 'silent' })
  const controller = await Controller.open({ dataDir, logger, tun: false })
  await controller.start()
  t.after(() => controller.stop())
  return { dataDir, certificate, controller, service: controller.service }
}

async function readCertificate(dataDir: string, file: string): Promise<X509Certificate> {
  return new X509Certificate(await readFile(join(dataDir, 'pki', file)))
}

async function connect(t: TestContext, controller: Controller, pack: Pack): Promise<UdpClient> {
  const status = await controller.service.status()
  const port = Number(status.controller.listen[0].split(':')[1])
  const profile = patientProfile(pack.content)
  const client = new UdpClient(profile, { remote: { host: '127.0.0.1', port }, reconnect: false })
  t.after(() => client.close())
  await client.connect(TIMEOUT)
  return client
}

test('certificates that are due are renewed, and clients of before and after connect', async t => {
  // Certificates are backdated by five minutes: with a lifetime of two, less than a third is left at once.
  const { dataDir, certificate, controller, service } = await run(t, {
    lifetimes: { server: 120, issuing: 120 },
  })
  const renewed = (await service.events()).filter(({ type }) => type === 'certificate-renewed')
  assert.deepEqual(renewed.map(event => (event as { certificate?: unknown }).certificate).sort(), [
    'issuing',
    'server',
  ])
  const server = await readCertificate(dataDir, 'server.crt')
  assert.notEqual(server.serialNumber, certificate.serialNumber)
  assert.ok(server.checkIssued(await readCertificate(dataDir, 'issuing.crt')))
  const client = await connect(t, controller, await service.addClient({ name: 'web' }))
  const { gateway } = (await service.status()).controller
  assert.ok((await client.ping(gateway)) >= 0)
})

test('without the root key the issuing certificate cannot be renewed, which is said, and clients go on', async t => {
  const dataDir = await newMesh(t, { lifetimes: { issuing: 120 } })
  await rm(join(dataDir, 'authority', 'root.key'))
  const controller = await Controller.open({ dataDir, logger: pino({ level: 'silent' }), tun: false })
  await controller.start()
  t.after(() => controller.stop())
  const status = await controller.service.status()
  assert.equal(status.certificates.root.keyPresent, false)
  assert.ok(status.warnings.some(warning => /authority import/.test(warning)))
  await connect(t, controller, await controller.service.addClient({ name: 'web' }))
})

test('who is told that it is connected is reached from the first packet on, however lately it was here before', async t => {
  const { controller, service } = await run(t)
  const first = await connect(t, controller, await service.addClient({ name: 'first' }))
  const pack = await service.addClient({ name: 'second' })
  for (let round = 0; round < 10; round++) {
    const second = await connect(t, controller, pack)
    await first.ping(addressOf(second.connection!))
    await second.close()
  }
  const { counters } = await service.status()
  assert.equal(counters.unreachable, 0)
})

test('a revoked client is put out at once and told why', async t => {
  const { controller, service } = await run(t)
  const client = await connect(t, controller, await service.addClient({ name: 'web' }))
  const ended = new Promise<string>(resolve => {
    client.onEnded = error => resolve(error.message)
    client.onRetrying = reason => resolve(reason)
  })
  await service.revokeClient('web')
  assert.equal((await service.sessions()).length, 0)
  assert.match(await ended, /revoked/)
})

test('a change ends the sessions of those whom it concerns, and each is shown with its own', async t => {
  const { controller, service } = await run(t)
  const names = ['web', 'db', 'cache', 'old']
  for (const name of names) await connect(t, controller, await service.addClient({ name }))
  for (const name of names) {
    const { session, address } = await service.client(name)
    assert.deepEqual([session?.client, session?.address], [name, address])
  }
  await service.disableClient('web')
  await service.addClient({ name: 'other' })
  assert.deepEqual(
    (await service.sessions()).map(({ client }) => client),
    ['cache', 'db', 'old'],
  )
  assert.equal((await service.client('web')).session, null)
  await service.rekeyClient('db')
  await service.revokeClient('old')
  assert.deepEqual(
    (await service.sessions()).map(({ client }) => client),
    ['cache'],
  )
})

test('SIGTERM’s drain leaves no session, and stop gives the directory back', async t => {
  const { dataDir, controller, service } = await run(t)
  await connect(t, controller, await service.addClient({ name: 'web' }))
  assert.equal((await service.sessions()).length, 1)
  await controller.drain()
  assert.equal((await service.sessions()).length, 0)
  await controller.stop()
  const again = await Controller.open({ dataDir, logger: pino({ level: 'silent' }), tun: false })
  await again.stop()
})

test('who stops tells its client to go elsewhere, although the first packet that says so is lost', async t => {
  const { controller, service } = await run(t)
  const relay = await UdpRelay.to((await service.status()).controller.listen[0])
  t.after(() => relay.close())
  const pack = await service.addClient({ name: 'web' })
  const profile = patientProfile(pack.content)
  const client = new UdpClient(profile, { remote: relay.remote, reconnect: false })
  t.after(() => client.close())
  await client.connect(TIMEOUT)
  const ended = new Promise<string>(resolve => {
    client.onEnded = error => resolve(error.message)
  })
  await client.ping((await service.status()).controller.gateway)

  let lost = 0
  relay.loses = packet => opcodeOf(packet[0]) === OPCODE.controlV1 && lost++ === 0
  await controller.drain()
  await controller.stop()
  // What is still on its way through the relay gets its turn, and no more comes: without a word the client would say that of silence.
  assert.match(await ended, /sends us to the next controller/)
  assert.ok(lost >= 2, 'once in vain, and once again')
})

test('a route that is added reaches connected clients: in place, or by a new connection', async t => {
  const { controller, service } = await run(t)
  await service.setRouteUpdates({ over: 0 })
  await service.addClient({ name: 'site' })
  const port = Number((await service.status()).controller.listen[0].split(':')[1])
  const open = async (name: string, proto: number) => {
    const pack = await service.addClient({ name })
    const profile = patientProfile(pack.content)
    const client = new UdpClient(profile, { remote: { host: '127.0.0.1', port }, proto })
    t.after(() => client.close())
    await client.connect(TIMEOUT)
    return client
  }
  const modern = await open('modern', DEFAULT_PROTO | IV_PROTO.pushUpdate)
  const stock = await open('stock', DEFAULT_PROTO)
  const lost: string[] = []
  modern.onRetrying = reason => lost.push(`modern ${reason}`)
  stock.onRetrying = () => lost.push('stock')
  const updated = new Promise<string[]>(resolve => {
    modern.onUpdated = ({ options }) => resolve(routesOf(options))
  })
  const again = new Promise<string[]>(resolve => {
    stock.onConnected = ({ options }) => resolve(routesOf(options))
  })
  await service.addRoute({ cidr: '192.168.5.0/24', via: 'client:site' })
  assert.deepEqual(
    (await service.sessions()).map(each => each.routesBehind),
    [true, true],
  )
  assert.deepEqual(await updated, ['192.168.5.0/24'])
  assert.deepEqual(await again, ['192.168.5.0/24'])
  assert.deepEqual(lost, ['stock'])
  assert.deepEqual(
    (await service.sessions()).map(each => each.routesBehind),
    [false, false],
  )
  assert.equal((await controller.service.status()).counters.pushUpdates, 1)
})
