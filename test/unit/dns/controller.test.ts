// A controller without a TUN answers by its switch; what the operator sets is pushed and kept.
import assert from 'node:assert/strict'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { type TestContext, test } from 'node:test'
import { encode } from 'dns-packet'
import pino from 'pino'
import { Controller } from '../../../node/controller.ts'
import { type Datagram, readDatagram, writeDatagram } from '../../../node/dns/datagram.ts'
import { Home } from '../../../node/home.ts'
import { IV_PROTO } from '../../../node/vpn/peer-info.ts'
import { UdpClient, type UdpClientOptions } from '../../../node/vpn/udp-client.ts'
import { newMesh, patientProfile, withService } from '../controller/home.ts'
import { until } from '../mesh-libp2p/world.ts'
import { ip, question, read, type Told } from './ask.ts'

const GATEWAY = ip('10.77.0.1')

async function run(t: TestContext, request = {}) {
  const dataDir = await newMesh(t, request)
  const controller = await Controller.open({ dataDir, logger: pino({ level: 'silent' }), tun: false })
  await controller.start()
  t.after(() => controller.stop())
  const { service } = controller
  const status = await service.status()
  const port = Number(status.controller.listen[0].split(':')[1])
  const connect = async (name: string, options: Partial<UdpClientOptions> = {}) => {
    const { content } = await service.addClient({ name })
    const profile = patientProfile(content)
    const client = new UdpClient(profile, {
      remote: { host: '127.0.0.1', port },
      reconnect: false,
      ...options,
    })
    t.after(() => client.close())
    const connection = await client.connect(20_000)
    return { client, connection }
  }
  return { controller, service, status, connect }
}

/** The packet in which a client asks. */
function packetOf(client: UdpClient, payload: Uint8Array, destination = GATEWAY): Uint8Array {
  const source = client.connection!.address
  return writeDatagram({ source, destination, sourcePort: 40_000, destinationPort: 53, payload }, 1)
}

/** Asks through the tunnel; undefined when nothing comes for so many milliseconds. */
async function ask(
  client: UdpClient,
  query: Uint8Array,
  { destination = GATEWAY, patience = 20_000 } = {},
): Promise<Told | undefined> {
  const packet = packetOf(client, query, destination)
  const answer = new Promise<Datagram | undefined>(resolve => {
    const timer = setTimeout(() => resolve(undefined), patience)
    client.onPacket = bytes => {
      const datagram = readDatagram(bytes)
      if (datagram?.destinationPort !== 40_000) return
      clearTimeout(timer)
      resolve(datagram)
    }
  })
  client.send(packet)
  const datagram = await answer
  if (datagram === undefined) return undefined
  assert.deepEqual(
    [datagram.source, datagram.destination, datagram.sourcePort],
    [destination, client.connection!.address, 53],
  )
  return read(datagram.payload)
}

const data = (answer: Told | undefined) =>
  answer === undefined
    ? 'nothing'
    : (answer.answers!.map(each => 'data' in each && each.data)[0] ?? answer.rcode)

test('with an IPv6 subnet, names have the IPv6 address that goes with the other', async t => {
  const { service, connect } = await run(t, { subnet6: 'fd00:77::/64' })
  const { client } = await connect('web')
  const { client: db } = await service.addClient({ name: 'db' })
  assert.equal(data(await ask(client, question('db.prod.internal', 'AAAA'))), db.address6)
  assert.equal(data(await ask(client, question('db.prod.internal', 'A'))), db.address)
})

test('clients are told where to ask, and are answered by a switch without a TUN', async t => {
  const { service, status, connect } = await run(t)
  const { client, connection } = await connect('web')
  assert.ok(connection.options.includes('dhcp-option DNS 10.77.0.1'))
  assert.ok(connection.options.includes('dhcp-option DOMAIN prod.internal'))
  const own = ip(status.controller.address)
  const db = await service.addClient({ name: 'db' })
  assert.equal(data(await ask(client, question('db.prod.internal', 'A'))), db.client.address)
  assert.equal(
    data(await ask(client, question('alpha.prod.internal', 'A'), { destination: own })),
    status.controller.address,
  )
  assert.equal(data(await ask(client, question('example.net', 'A'))), 'REFUSED')
  await service.revokeClient('db')
  assert.equal(data(await ask(client, question('db.prod.internal', 'A'))), 'NXDOMAIN')
  assert.deepEqual((await service.dns()).serves, ['udp'])
  assert.equal((await service.status()).warnings.length, 0)
  assert.ok((await client.ping('10.77.0.1')) >= 0, 'and pings are answered as before')
})

test('damaged datagrams are not answered', async t => {
  const { status, connect } = await run(t)
  const { client } = await connect('web')
  const query = question('alpha.prod.internal', 'A')
  assert.equal(data(await ask(client, query)), status.controller.address)
  const damages: ((packet: Uint8Array) => void)[] = [
    packet => {
      packet[40] ^= 1
    },
    packet => {
      packet[24] = 0xff
    },
    packet => {
      packet[25] = 4
    },
  ]
  for (const damage of damages) {
    const packet = packetOf(client, query)
    damage(packet)
    client.send(packet)
    // What comes is the answer to what is asked next.
    assert.equal(data(await ask(client, question('nobody.prod.internal', 'A'))), 'NXDOMAIN')
  }
  assert.equal(
    data(await ask(client, question('web.prod.internal', 'A'))),
    '10.77.0.2'.replace('2', String(client.connection!.address & 255)),
  )
})

test('one who asks without end is not answered without end, and others are', async t => {
  const { controller, connect } = await run(t)
  const { client } = await connect('web')
  const { client: other } = await connect('other')
  const query = question('web.prod.internal', 'A')
  const packet = packetOf(client, query)
  const began = performance.now()
  let answers = 0
  client.onPacket = () => {
    answers++
  }
  for (let i = 0; i < 1000; i++) {
    client.send(packet)
    if (i % 50 === 0) await new Promise(resolve => setImmediate(resolve))
  }
  // What waits is bounded for all together: one that comes on top of it may be lost, and resolvers ask again.
  let answer: unknown = 'nothing'
  for (let tries = 0; tries < 4 && answer === 'nothing'; tries++)
    answer = data(await ask(other, query, { patience: 5000 }))
  assert.notEqual(answer, 'nothing')
  // 200 at once, and then 100 a second.
  const most = 201 + (performance.now() - began) / 10
  assert.ok(answers > 100 && answers <= most, `${answers} answers, at most ${most}`)
  const { counters } = await controller.service.status()
  assert.ok(counters.dnsLimited + counters.queryQueueFull > 0)
})

test('resolvers are asked what is not the overlay’s, and what the operator sets counts at once', async t => {
  const resolver = createSocket('udp4')
  resolver.bind(0, '127.0.0.1')
  await once(resolver, 'listening')
  t.after(() => resolver.close())
  resolver.on('message', (query, from) => {
    const { id, questions } = read(query)
    const answers = [{ name: questions![0].name, type: 'A' as const, ttl: 60, data: '192.0.2.80' }]
    resolver.send(encode({ type: 'response', id, questions, answers }), from.port, from.address)
  })
  const { service, connect } = await run(t)
  const { client } = await connect('web')
  const address = `127.0.0.1:${resolver.address().port}`
  const state = await service.changeDns({ forwarders: [address] })
  assert.deepEqual(state.forwarders, [address])
  assert.equal(data(await ask(client, question('example.net', 'A'))), '192.0.2.80')
  assert.equal(data(await ask(client, question('no.prod.internal', 'A'))), 'NXDOMAIN')
  await service.changeDns({ forwarders: [] })
  assert.equal(data(await ask(client, question('example.net', 'A'))), 'REFUSED')
  await service.changeDns({ enabled: false })
  assert.equal(data(await ask(client, question('web.prod.internal', 'A'))), 'REFUSED')
  assert.deepEqual((await service.dns()).serves, [])
  const { connection } = await connect('late')
  assert.ok(!connection.options.some(option => option.startsWith('dhcp-option')))
  const changes = (await service.events()).filter(({ type }) => type === 'dns-changed')
  assert.equal(changes.length, 3)
})

/** What OpenVPN 2.7 says without DCO. */
const NEWEST = 990 | IV_PROTO.dataEpoch | IV_PROTO.dnsOptionV2 | IV_PROTO.pushUpdate

test('a client that can ask for some names only is told which, and hears of what changes', async t => {
  const { service, connect } = await run(t)
  await service.setRouteUpdates({ over: 0 })
  const { client } = await connect('new', { proto: NEWEST, reconnect: true })
  const told = () =>
    client.connection?.options
      .filter(option => /^(dns|dhcp-option) /.test(option))
      .sort()
      .join()
  const [search, server, ours] = [
    'dns search-domains prod.internal',
    'dns server 0 address 10.77.0.1',
    'dns server 0 resolve-domains prod.internal',
  ]
  assert.equal(told(), [search, server, ours].join())
  await service.changeDns({ forwarders: ['192.0.2.53'] })
  await until('all names are asked', () => told() === [search, server].join())
  await service.changeDns({ enabled: false })
  await until('none is', () => told() === '')
  await service.changeDns({ enabled: true, forwarders: [] })
  await until('some are', () => told() === [search, server, ours].join())
})

test('what is no resolver is refused with the reason, and nothing is changed', async t => {
  const dataDir = await newMesh(t)
  await withService(dataDir, async service => {
    const cases: [string[], RegExp][] = [
      [['resolver.example.net'], /is no address of a resolver/],
      [['10.77.0.1'], /10\.77\.0\.1 is a controller of this mesh/],
      [[(await service.status()).controller.address], /is a controller of this mesh/],
      [['192.0.2.1', '192.0.2.1:53'], /named twice/],
      [['192.0.2.1', '192.0.2.2', '192.0.2.3', '192.0.2.4', '192.0.2.5'], /5 resolvers are more than 4/],
      [['224.0.0.251'], /is no address of a resolver/],
      [['::'], /is no address of a resolver/],
    ]
    for (const [forwarders, message] of cases)
      await assert.rejects(service.changeDns({ forwarders, enabled: false }), { code: 'invalid', message })
    assert.deepEqual((await service.dns()).forwarders, [])
    assert.equal((await service.dns()).enabled, true)
    const state = await service.changeDns({
      forwarders: ['[2001:DB8::53]:5353', '2001:db8::54', '192.0.2.53:53'],
    })
    assert.deepEqual(state.forwarders, ['[2001:db8::53]:5353', '2001:db8::54', '192.0.2.53'])
  })
})

test('a mesh whose name DNS cannot carry has no DNS, and says so when asked for it', async t => {
  const dataDir = await newMesh(t)
  // No new one has such a name.
  const home = await Home.open(dataDir)
  const { id, value } = home.mesh
  await home.replica.write([{ kind: 'mesh', id, value: { ...value, name: 'prod.' } }])
  await home.close()
  await withService(dataDir, async service => {
    const { enabled, domain } = await service.dns()
    assert.deepEqual([enabled, domain], [false, null])
    await assert.rejects(service.changeDns({ enabled: true }), /cannot carry the name of this mesh/)
  })
})
