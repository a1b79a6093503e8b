// Routes of IPv6 prefixes, from records to the derived table.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { formatCidr6 } from '../../../state/address6.ts'
import { type ControllerId, type RouteValue, routeId, valueProblem } from '../../../state/kinds.ts'
import { Views } from '../../../state/views.ts'
import {
  clientId,
  clientOp,
  clientValue,
  exchange,
  foundMesh,
  leaseOp,
  openReplica,
  revocationOp,
} from './samples.ts'

test('prefixes of clients that may connect, sorted, the same in every replica', async () => {
  const { replica } = await foundMesh()
  const views = new Views(replica)
  const before = views.routingTable()
  const subnets = [
    ['2001:db8:5::/48', '192.168.5.0/24'],
    ['2001:db8:5::/48', 'fd00::/64'],
    ['2001:db8:4::/48'],
  ]
  for (const [index, each] of subnets.entries()) {
    const address = `10.77.0.${20 + index}`
    await replica.write([clientOp(index, { address, subnets: each }), leaseOp(address, index)])
  }
  const list = () =>
    views.routes6().map(({ cidr, via }) => `${formatCidr6(cidr)} ${'id' in via ? via.id : via.kind}`)
  const [first, second, third] = [0, 1, 2].map(clientId)
  assert.deepEqual(list(), [
    `2001:db8:4::/48 ${third}`,
    ...[`2001:db8:5::/48 ${first}`, `2001:db8:5::/48 ${second}`].sort(),
    `fd00::/64 ${second}`,
  ])
  const table = views.routingTable()
  assert.notDeepEqual(table, before)
  assert.match(Buffer.from(table).toString(), /2001:db8:4::\/48 client:/)
  const other = await openReplica(1)
  await exchange(replica, other.replica)
  assert.deepEqual(new Views(other.replica).routingTable(), table)
  await replica.write([revocationOp(2)])
  assert.equal(
    list().some(line => line.includes(third)),
    false,
  )
})

test('a route that was added is a way beside them, in the order of metrics', async () => {
  const { replica } = await foundMesh()
  const views = new Views(replica)
  const cidr = '2001:db8:5::/48'
  for (const [index, subnets] of [[cidr], []].entries()) {
    const address = `10.77.0.${20 + index}`
    await replica.write([clientOp(index, { address, subnets }), leaseOp(address, index)])
  }
  const route = (client: number, metric: number, more: Partial<RouteValue> = {}) => {
    const value = {
      cidr,
      via: { kind: 'client', id: clientId(client) },
      metric,
      createdAt: 1,
      ...more,
    } as RouteValue
    return { kind: 'route' as const, id: routeId(value), value }
  }
  await replica.write([route(1, 5), route(1, 0, { cidr: '192.168.5.0/24' })])
  const [own, added] = views.routes6()
  assert.partialDeepStrictEqual(own, { via: { id: clientId(0) }, metric: 0, source: 'subnet' })
  assert.partialDeepStrictEqual(added, {
    via: { id: clientId(1) },
    metric: 5,
    source: 'route',
    id: route(1, 5).id,
  })
  assert.equal(views.prefixes().filter(({ source }) => source === 'route').length, 1)
  const problem = ({ id, value }: ReturnType<typeof route>) => valueProblem('route', id, value)
  const controller = '0123456789abcdef0123' as ControllerId
  for (const good of [
    { cidr: '2001:db8:1111:2222:3333:4444:5555:6666/128' },
    { cidr: '::/0', via: { kind: 'internet' } as const },
    { cidr: '2000::/3', via: { kind: 'internet' } as const, probe: '2001:db8::1' },
    { via: { kind: 'controller', id: controller } as const, nat: true, exit: false, probe: '2001:db8:5::1' },
  ])
    assert.equal(problem(route(1, 5, good)), undefined, JSON.stringify(good))
  for (const bad of [
    { cidr: '2001:db8:5::1/48' },
    { cidr: '::/1' },
    { cidr: 'fc00::/8' },
    { via: { kind: 'attachment', id: '0123456789abcdef' } as const },
    { probe: '192.168.5.1' },
    { probe: '2001:DB8::1' },
  ])
    assert.notEqual(problem(route(1, 5, bad)), undefined, JSON.stringify(bad))
})

test('a record has its prefixes in their one form', () => {
  const problem = (subnet: string) =>
    valueProblem('client', clientId(1), clientValue(1, { subnets: [subnet] }))
  assert.equal(problem('2001:db8:5::/48'), undefined)
  assert.equal(problem('192.168.5.0/24'), undefined)
  for (const bad of [
    '2001:DB8::/32',
    '2001:db8::1/48',
    '2001:db8::/129',
    '::/0',
    'fe80::/64',
    '2000::/8',
    '10.0.0.1/8',
    'x:y',
  ])
    assert.notEqual(problem(bad), undefined, bad)
})
