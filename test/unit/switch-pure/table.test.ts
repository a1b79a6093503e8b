import assert from 'node:assert/strict'
import { test } from 'node:test'
import { encodeRoutes, ForwardingTable, MAX_ROUTES, NEXT_HOP } from '../../../node/switch/table.ts'
import { parseCidr, parseIpv4 } from '../../../state/address.ts'

const route = (cidr: string, nextHop: number) => ({ ...parseCidr(cidr)!, nextHop })
const ip = (text: string) => parseIpv4(text)!

test('an empty table knows no route', () => {
  const table = ForwardingTable.build([])
  for (const address of [0, 1, 0x7fffffff, 0x80000000, 0xffffffff]) {
    assert.equal(table.lookup(address), NEXT_HOP.none)
  }
})

test('the more specific route wins whatever the order', () => {
  const routes = [
    route('0.0.0.0/0', 1),
    route('10.77.0.0/16', NEXT_HOP.unreachable),
    route('10.77.0.1/32', NEXT_HOP.local),
    route('10.77.0.9/32', 7),
    route('10.77.0.8/31', 8),
    route('255.255.255.255/32', 9),
  ]
  for (const order of [routes, routes.toReversed()]) {
    const table = ForwardingTable.build(order)
    assert.equal(table.lookup(ip('10.77.0.1')), NEXT_HOP.local)
    assert.equal(table.lookup(ip('10.77.0.8')), 8)
    assert.equal(table.lookup(ip('10.77.0.9')), 7)
    assert.equal(table.lookup(ip('10.77.0.10')), NEXT_HOP.unreachable)
    assert.equal(table.lookup(ip('10.78.0.0')), 1)
    assert.equal(table.lookup(ip('255.255.255.255')), 9)
    assert.equal(table.lookup(ip('255.255.255.254')), 1)
  }
})

test('of two routes for one prefix the later counts', () => {
  const table = ForwardingTable.build([
    route('10.0.0.0/8', 1),
    route('10.0.0.5/32', 3),
    route('10.0.0.0/8', 2),
    route('10.0.0.5/32', 4),
  ])
  assert.equal(table.lookup(ip('10.1.1.1')), 2)
  assert.equal(table.lookup(ip('10.0.0.5')), 4)
})

test('100,000 hosts and 1,000 prefixes are all found', () => {
  const hosts = Array.from({ length: 100_000 }, (_, i) => ({
    address: 0x0a4d0000 + i,
    length: 32,
    nextHop: i,
  }))
  const nets = Array.from({ length: 1000 }, (_, i) => ({
    address: 0xac100000 + i * 256,
    length: 24,
    nextHop: i,
  }))
  const table = ForwardingTable.build([...hosts, ...nets])
  for (const { address, nextHop } of hosts) assert.equal(table.lookup(address), nextHop)
  for (const { address, nextHop } of nets) assert.equal(table.lookup(address + 77), nextHop)
  assert.equal(table.lookup(0x0a4d0000 + 100_000), NEXT_HOP.none)
})

test('routes that change nothing take no room among the prefixes', () => {
  const one = encodeRoutes([route('10.0.0.0/8', 1)])
  const nested = encodeRoutes([route('10.0.0.0/8', 1), route('10.4.0.0/16', 1), route('10.4.0.0/30', 1)])
  const halves = encodeRoutes([route('10.0.0.0/9', 1), route('10.128.0.0/9', 1)])
  assert.deepEqual(nested, one)
  assert.deepEqual(halves, one)
})

test('a malformed route is refused', () => {
  const bad = [
    { address: -1, length: 32, nextHop: 0 },
    { address: 2 ** 32, length: 32, nextHop: 0 },
    { address: 1.5, length: 32, nextHop: 0 },
    { address: 0, length: 33, nextHop: 0 },
    { address: 0, length: -1, nextHop: 0 },
    { address: 0, length: 8, nextHop: NEXT_HOP.none },
    { address: 0, length: 8, nextHop: -5 },
    { address: 0, length: 8, nextHop: 2 ** 31 },
  ]
  for (const route of bad) assert.throws(() => encodeRoutes([route]), RangeError)
})

test('more routes than the bound are refused, as many as it are not', () => {
  const one = route('10.0.0.0/8', 1)
  assert.throws(() => encodeRoutes(new Array(MAX_ROUTES + 1).fill(one)), RangeError)
  assert.equal(ForwardingTable.build(new Array(MAX_ROUTES).fill(one)).lookup(ip('10.9.9.9')), 1)
})

test('only an encoded table is taken for one', () => {
  const good = encodeRoutes([route('10.0.0.0/8', 1)])
  assert.throws(() => ForwardingTable.fromEncoded(new Int32Array()), RangeError)
  assert.throws(() => ForwardingTable.fromEncoded(good.subarray(0, good.length - 1)), RangeError)
  for (const [place, value] of [
    [0, 0],
    [1, 31],
    [1, -1],
    [2, 0],
    [2, -4],
  ]) {
    const bad = good.slice()
    bad[place] = value
    assert.throws(() => ForwardingTable.fromEncoded(bad), RangeError)
  }
})
