import assert from 'node:assert/strict'
import { test } from 'node:test'
import { formatCidr, parseIpv4 } from '../../../state/address.ts'
import { nextAddress } from '../../../state/allocator.ts'
import { formatVia } from '../../../state/routing-table.ts'
import { Views } from '../../../state/views.ts'
import {
  clientId,
  clientOp,
  controllerOp,
  controllerValue,
  exchange,
  foundMesh,
  identity,
  leaseOp,
  revocationOp,
  START,
  serial,
  settingOp,
  twoHalves,
} from './samples.ts'

async function viewed() {
  const bench = await foundMesh()
  return { ...bench, views: new Views(bench.replica) }
}

const address = (index: number) => `10.77.0.${index}`
const withLease = (index: number, change = {}) => [clientOp(index, change), leaseOp(address(index), index)]

async function halves() {
  const { a, b } = await twoHalves()
  return { a, b, views: [new Views(a.replica), new Views(b.replica)] as const }
}

test('a credential is usable exactly while everything speaks for it', async () => {
  const { replica, views } = await viewed()
  const reason = () => {
    const credential = views.credential(serial(5))
    return credential.usable ? 'usable' : credential.reason
  }
  assert.equal(reason(), 'unknown')
  await replica.write([clientOp(5, { subnets: ['192.168.5.0/24'] })])
  assert.equal(reason(), 'address-lost')
  await replica.write([leaseOp(address(5), 5)])
  const credential = views.credential(serial(5))
  assert.ok(credential.usable)
  assert.equal(credential.client.name, 'client-5')
  assert.equal(credential.address, parseIpv4(address(5)))
  assert.deepEqual(credential.subnets.map(formatCidr), ['192.168.5.0/24'])
  await replica.write([clientOp(5, { enabled: false })])
  assert.equal(reason(), 'disabled')
  await replica.write([clientOp(5, { issuer: identity(7).id })])
  assert.equal(reason(), 'issuer-not-admitted')
  await replica.write([clientOp(5, { serial: serial(6) }), revocationOp(5, 'superseded')])
  assert.equal(reason(), 'superseded')
  await replica.write([revocationOp(6)])
  assert.equal(views.credential(serial(6)).usable, false)
  await replica.write([{ kind: 'client', id: clientId(5), value: null }])
  assert.equal(reason(), 'superseded', 'a revocation outlives its client')
})

test("a removed controller's credentials are not usable", async () => {
  const { a, views } = await halves()
  await a.replica.write(withLease(5, { issuer: identity(1).id }))
  assert.equal(views[0].credential(serial(5)).usable, true)
  await a.replica.write([controllerOp(1, { removedAt: START })])
  const credential = views[0].credential(serial(5))
  assert.equal(credential.usable ? '' : credential.reason, 'issuer-not-admitted')
  assert.deepEqual(
    views[0].controllers().map(({ id }) => id),
    [identity(0).id],
  )
})

test('two clients of one name: the older keeps it, the newer is shown under another, on both sides', async () => {
  const { a, b, views } = await halves()
  await a.replica.write(withLease(5, { name: 'web', createdAt: START + 10 }))
  await b.replica.write(withLease(6, { name: 'web', createdAt: START + 5 }))
  await exchange(a.replica, b.replica)
  for (const view of views) {
    assert.equal(view.clientByName('web')!.id, clientId(6))
    assert.equal(view.clientByName('web~0000')!.id, clientId(5))
    assert.equal(view.clientByName('web~1111'), undefined)
    const [conflict] = view.conflicts()
    assert.equal(conflict.kind, 'name')
    assert.match(conflict.message, /web~0000/)
  }
  await a.replica.write([{ kind: 'client', id: clientId(6), value: null }])
  assert.equal(views[0].clientByName('web')!.id, clientId(5))
  assert.deepEqual(
    views[0].conflicts().filter(({ kind }) => kind === 'name'),
    [],
  )
})

test('one address taken on both sides: the first keeps it, the other cannot connect, on both sides', async () => {
  const { a, b, views } = await halves()
  a.time += 10
  await a.replica.write([clientOp(5, { address: '10.77.0.50' }), leaseOp('10.77.0.50', 5)])
  await b.replica.write([clientOp(6, { address: '10.77.0.50' }), leaseOp('10.77.0.50', 6)])
  await exchange(a.replica, b.replica)
  for (const view of views) {
    assert.equal(view.credential(serial(6)).usable, true)
    const lost = view.credential(serial(5))
    assert.equal(lost.usable ? '' : lost.reason, 'address-lost')
    const conflicts = view
      .conflicts()
      .filter(each => each.kind === 'address' && each.address === '10.77.0.50')
    assert.equal(conflicts.length, 1)
    assert.match(conflicts[0].message, /held by client-6; client-5 cannot connect/)
  }
  assert.deepEqual(views[0].conflicts(), views[1].conflicts())
  assert.deepEqual(views[0].routingTable(), views[1].routingTable())
})

test('a controller whose address is another’s is told apart from clients that have lost it', async () => {
  const { a, b, views } = await halves()
  const own = controllerValue(0).address
  a.time += 10
  await a.replica.write([leaseOp(own, 7), clientOp(7, { address: own })])
  await b.replica.write([clientOp(8, { address: own })])
  await exchange(a.replica, b.replica)
  const [conflict] = views[1].conflicts().filter(each => each.kind === 'address' && each.address === own)
  assert.match(
    conflict.message,
    /held by client-7; client-8 cannot connect: `overmesh client revoke` that, and `client add` it again; stop controller \S+ and start it again/,
  )
})

test('the routing table is sorted and holds what may be used', async () => {
  const { replica, views } = await viewed()
  await replica.write([
    { kind: 'lease', id: '10.77.255.1', value: { holder: identity(0).id, holderKind: 'controller' } },
    ...withLease(9, { subnets: ['192.168.9.0/24', '192.168.0.0/16'] }),
    ...withLease(3),
    ...withLease(4, { enabled: false }),
    {
      kind: 'route',
      id: `0.0.0.0/0|controller:${identity(0).id}`,
      value: {
        cidr: '0.0.0.0/0',
        via: { kind: 'controller', id: identity(0).id },
        metric: 7,
        createdAt: START,
      },
    },
    {
      kind: 'route',
      id: '0.0.0.0/0|internet',
      value: { cidr: '0.0.0.0/0', via: { kind: 'internet' }, metric: 5, createdAt: START },
    },
  ])
  const lines = views
    .routes()
    .map(({ cidr, via, metric }) => `${formatCidr(cidr)} ${formatVia(via)} ${metric}`)
  assert.deepEqual(lines, [
    '0.0.0.0/0 internet 5',
    `0.0.0.0/0 controller:${identity(0).id} 7`,
    `10.77.0.3/32 client:${clientId(3)} 0`,
    `10.77.0.9/32 client:${clientId(9)} 0`,
    `10.77.255.1/32 controller:${identity(0).id} 0`,
    `192.168.0.0/16 client:${clientId(9)} 0`,
    `192.168.9.0/24 client:${clientId(9)} 0`,
  ])
  const before = views.routes()
  await replica.write([settingOp('x', 1)])
  assert.equal(views.routes(), before, 'a setting changes no route')
  await replica.write([clientOp(3, { enabled: false })])
  assert.equal(views.routes().length, before.length - 1)
})

test('views opened late say the same as views that followed every change', async () => {
  const { a, b, views } = await halves()
  for (let i = 1; i < 30; i++)
    await (i % 2 ? a : b).replica.write(withLease(i, { name: `n${i % 7}`, createdAt: START + i }))
  for (let i = 1; i < 30; i += 3) await a.replica.write([{ kind: 'client', id: clientId(i), value: null }])
  for (let i = 2; i < 30; i += 5) await b.replica.write([{ kind: 'lease', id: address(i), value: null }])
  await exchange(a.replica, b.replica)
  const late = new Views(a.replica)
  for (const view of views) {
    assert.deepEqual(view.clients(), late.clients())
    assert.deepEqual(view.conflicts(), late.conflicts())
    assert.deepEqual(view.routingTable(), late.routingTable())
    for (let i = 1; i < 30; i++) assert.deepEqual(view.credential(serial(i)), late.credential(serial(i)))
    const [next, other] = [view, late].map(each => nextAddress(each.addresses()!, identity(0).id))
    assert.deepEqual(next, other)
  }
})

test('closed views follow no more', async () => {
  const { replica, views } = await viewed()
  views.close()
  await replica.write(withLease(5))
  assert.equal(views.credential(serial(5)).usable, false)
})
