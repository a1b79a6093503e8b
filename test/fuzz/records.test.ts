// Records that fit their schemas, as a hostile member or a newer version may write them: whatever they say, a controller goes on.
import assert from 'node:assert/strict'
import { randomInt } from 'node:crypto'
import { test } from 'node:test'
import pino from 'pino'
import { Controller } from '../../node/controller.ts'
import { Home } from '../../node/home.ts'
import { sealSecret } from '../../node/ipsec/seal.ts'
import { ServiceError } from '../../node/service-error.ts'
import { MAX_TIME } from '../../state/clock.ts'
import { StateError } from '../../state/errors.ts'
import { type RouteValue, routeId } from '../../state/kinds.ts'
import type { Op } from '../../state/writing.ts'
import { newMesh } from '../unit/controller/home.ts'
import { INPUTS, Random } from './mutate.ts'

/** Each is a write that the disk has. */
const RECORDS = INPUTS / 100

const NAMES = ['a', 'web', 'a..b', 'a.', 'x'.repeat(63), '0', '1.2.3.4', 'alpha', 'constructor', 'a-', 'a_']
const ADDRESSES = [
  '0.0.0.0',
  '255.255.255.255',
  '10.77.0.0',
  '10.77.0.1',
  '10.77.0.5',
  '127.0.0.1',
  '224.0.0.1',
]
const PREFIXES = ['0.0.0.0/0', '128.0.0.0/1', '127.0.0.0/8', '10.0.0.0/8', '10.77.0.0/24', '10.77.0.1/32']
const PREFIXES6 = ['2001:db8::/32', '2001:db8::1/128', 'fd00:1::/48']
const INTERNET6 = ['::/0', '2000::/3']
const ENDPOINTS = [
  'a:b:1',
  '[::1:5',
  '[]:1',
  '[fe80::1]:7',
  '%%:1194',
  '1.2.3.4:00005',
  '1.2.3.999:5',
  '"a:1',
  'a,b:1',
]
const HOSTS = ['%any', '1.2.3.4', '999.1', 'a:b', '...', '-']
const TEXTS = ['', 'x'.repeat(255), '%any', '"', 'a\nb', '\0', 'ü', 'C=DE, O="x']
const TIMES = [0, 1, Date.now(), MAX_TIME]
const CERTIFICATE = '-----BEGIN CERTIFICATE-----\nZ2FyYmFnZQ==\n-----END CERTIFICATE-----\n'
const HOOKS = [
  'null',
  '{}',
  '1',
  'no JSON',
  '{"url":"http://127.0.0.1:1/","types":["*"],"secret":"whsec_!"}',
  '{"url":"http://127.0.0.1:1/","types":["(",""],"secret":7}',
  '{"url":"ftp://127.0.0.1:1/","types":[]}',
]
const SETTINGS = [
  'dns',
  'dns.forwarders',
  'routes.updates',
  'routes.refresh',
  'webhook.x',
  'webhook.',
  'pack.x',
]
const VALUES = [
  true,
  -1,
  2 ** 53 - 1,
  '',
  'later',
  [],
  ['', ''],
  ['1', 'NaN', 'all'],
  ['1', '0', 'x'],
  ['1.2.3.4'],
]

test('fuzz: records that fit their schemas', async t => {
  const seed = Number(process.env.OVERMESH_SEED ?? randomInt(2 ** 31))
  t.diagnostic(`seed ${seed}`)
  const random = new Random(seed)
  const { pick, some, hex } = choices(random)
  let home!: Home
  const { open } = Home
  t.mock.method(Home, 'open', async (...args: Parameters<typeof open>) => {
    home = await open.apply(Home, args)
    return home
  })
  const dataDir = await newMesh(t, { subnet6: 'fd00:77::/64' })
  const start = async () => {
    const controller = await Controller.open({ dataDir, logger: pino({ level: 'silent' }), tun: false })
    t.after(() => controller.stop())
    await controller.start()
    return controller
  }
  const controller = await start()
  const own = home.controller
  const ids = Array.from({ length: 8 }, () => hex(16))

  const MAKERS: readonly (() => Op)[] = [
    function client() {
      const subnets = some([...PREFIXES, ...PREFIXES6])
      const value = {
        ...{
          name: pick(NAMES),
          address: pick(ADDRESSES),
          subnets,
          tags: { constructor: 'x' },
          enabled: pick([true, false]),
        },
        ...{ serial: pick(['1', 'f'.repeat(40)]), fingerprint: hex(64), issuer: pick([home.id, hex(20)]) },
        ...{ createdAt: pick(TIMES), expiresAt: pick(TIMES) },
      }
      return { kind: 'client', id: pick(ids), value: pick([value, value, null]) } as Op
    },
    function lease() {
      const holders = [
        { holder: pick(ids), holderKind: 'client' },
        { holder: home.id, holderKind: 'controller' },
        null,
      ]
      return { kind: 'lease', id: pick(ADDRESSES), value: pick(holders) } as Op
    },
    function revocation() {
      const value = { client: pick(ids), reason: pick(['superseded', '']), at: pick(TIMES) }
      return { kind: 'revocation', id: pick(['1', 'f'.repeat(40)]), value } as Op
    },
    function route() {
      const isSix = pick([true, false])
      const via = pick([
        { kind: 'internet' },
        { kind: 'client', id: pick(ids) },
        { kind: 'attachment', id: pick(ids) },
        { kind: 'controller', id: pick([home.id, hex(20)]) },
      ])
      const probe = isSix ? pick(['::', 'ff02::1', '2001:db8::1']) : pick(ADDRESSES)
      const value = {
        ...{
          cidr: pick(isSix ? [...PREFIXES6, ...INTERNET6] : PREFIXES),
          via,
          metric: pick([0, 65_535]),
          createdAt: pick(TIMES),
        },
        ...pick([{}, { nat: true }, { exit: false }, { probe }]),
      } as RouteValue
      return { kind: 'route', id: routeId(value), value: pick([value, value, null]) }
    },
    function attachment() {
      const id = pick(ids)
      const psk = (size: number) =>
        sealSecret(home.tlsCryptKey, id, random.bytes(size), length => random.bytes(length))
      const value = {
        ...{ name: pick(NAMES), remote: pick(HOSTS), localId: pick(TEXTS), remoteId: pick(TEXTS) },
        authentication: pick([
          { method: 'psk', sealed: pick(['=', 'AAAA', psk(0), psk(300)]) },
          {
            method: 'certificate',
            remoteAuthority: pick([CERTIFICATE, '-----BEGIN -----', home.rootCertificate]),
          },
        ]),
        ...{ ikeVersion: pick([1, 2]), ikeProposals: pick([[], ['-']]), espProposals: pick([[], ['-']]) },
        ...{ localSubnets: [pick(PREFIXES)], remoteSubnets: [pick(PREFIXES)], dpdSeconds: pick([0, 3600]) },
        ...{ ikeLifetimeSeconds: 60, childLifetimeSeconds: 2_592_000, initiate: pick([true, false]) },
        ...{ controllers: pick([[], [hex(20)]]), enabled: pick([true, false]), createdAt: pick(TIMES) },
      }
      return { kind: 'attachment', id, value: pick([value, value, null]) } as Op
    },
    function setting() {
      const id = pick(SETTINGS)
      const sealed = sealSecret(home.tlsCryptKey, id, Buffer.from(pick(HOOKS)), length =>
        random.bytes(length),
      )
      return {
        kind: 'setting',
        id,
        value: pick([{ value: sealed }, { value: pick<unknown>(VALUES) }, null]),
      } as Op
    },
    function token() {
      const times = {
        createdAt: pick(TIMES),
        expiresAt: pick(TIMES),
        ...pick([{}, { revokedAt: pick(TIMES) }]),
      }
      const value = { name: pick(NAMES), scope: pick(['read', 'admin']), hash: hex(64), ...times }
      return { kind: 'token', id: hex(16), value } as Op
    },
    function ownController() {
      const endpoints = { publicEndpoints: some(ENDPOINTS), meshEndpoints: some(ENDPOINTS) }
      const value = { ...own, ...endpoints, name: pick(NAMES), joinedAt: pick(TIMES) }
      return { kind: 'controller', id: home.id, value }
    },
  ]
  for (let i = 0; i < RECORDS; i++) {
    const op = pick(MAKERS)()
    try {
      await home.replica.write([op])
    } catch (error) {
      // Such as a revocation that would be taken back.
      assert.ok(error instanceof StateError, `seed ${seed}, ${JSON.stringify(op)}: ${error}`)
    }
    if (i % 20 === 0) await look(controller, seed)
  }
  await controller.stop()
  const again = await start()
  await look(again, seed)
  await again.stop()
})

/** All that an operator may look at, and something that is an event for webhooks. */
async function look({ service }: Controller, seed: number): Promise<void> {
  const looks: Promise<unknown>[] = [
    ...[service.status(), service.health(), service.metrics(), service.clients(), service.sessions()],
    ...[
      service.routes(),
      service.routeUpdates(),
      service.webhooks(),
      service.tokens(),
      service.desiredState(),
    ],
    service.attachments().then(all => Promise.all(all.map(({ name }) => service.attachment(name)))),
    service.clients().then(all => Promise.all(all.map(({ name }) => service.packClient(name, 'ovpn')))),
  ]
  looks.push(
    service
      .addClient({ name: `new-${randomInt(2 ** 31)}` })
      .then(({ client }) => service.revokeClient(client.name)),
  )
  for (const { reason } of (await Promise.allSettled(looks)).filter(each => each.status === 'rejected'))
    assert.ok(reason instanceof ServiceError, `seed ${seed}: ${(reason as Error).stack}`)
}

function choices(random: Random) {
  const pick = <T>(from: readonly T[]): T => random.pick(from)
  return {
    pick,
    some: <T>(from: readonly T[]): T[] => from.filter(() => random.integer(3) === 0),
    hex: (length: number): string => Buffer.from(random.bytes(length)).toString('hex').slice(0, length),
  }
}
