// Names as the records have them, and as they change.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isDomainName, meshDomain, spellName, unspellName } from '../../../node/dns/names.ts'
import { OverlayNames } from '../../../node/dns/overlay-names.ts'
import { formatIpv4, parseCidr } from '../../../state/address.ts'
import { Views } from '../../../state/views.ts'
import {
  clientId,
  clientOp,
  controllerOp,
  exchange,
  foundMesh,
  identity,
  leaseOp,
  openReplica,
  pull,
  revocationOp,
  START,
} from '../state/samples.ts'
import { ip } from './ask.ts'

async function world() {
  const { replica } = await foundMesh()
  const views = new Views(replica)
  const names = new OverlayNames({
    records: replica,
    views,
    domain: 'test.internal',
    subnet: parseCidr('10.77.0.0/16')!,
  })
  const find = (name: string) => {
    const address = names.find(name)
    return address === undefined ? undefined : formatIpv4(address)
  }
  const add = (index: number, change = {}) =>
    replica.write([clientOp(index, change), leaseOp(`10.77.0.${index}`, index)])
  return { replica, views, names, find, add }
}

test('a client has its name for as long as it may connect, whether or not it does', async () => {
  const { replica, names, find, add } = await world()
  assert.equal(find('web'), undefined)
  await add(5, { name: 'web' })
  assert.equal(find('web'), '10.77.0.5')
  assert.equal(names.nameOf(ip('10.77.0.5')), 'web')
  await replica.write([clientOp(5, { name: 'web', enabled: false })])
  assert.equal(find('web'), undefined)
  await replica.write([clientOp(5, { name: 'web' })])
  assert.equal(find('web'), '10.77.0.5')
  await replica.write([revocationOp(5)])
  assert.equal(find('web'), undefined)
  assert.equal(names.nameOf(ip('10.77.0.5')), undefined)
})

test('controllers have names, and theirs win over those of clients', async () => {
  const { replica, names, find, add } = await world()
  assert.equal(find('c0'), '10.77.255.1')
  await replica.write([
    { kind: 'lease', id: '10.77.255.1', value: { holder: identity(0).id, holderKind: 'controller' } },
  ])
  assert.equal(names.nameOf(ip('10.77.255.1')), 'c0')
  await add(5, { name: 'c0' })
  assert.equal(find('c0'), '10.77.255.1')
  assert.equal(names.nameOf(ip('10.77.0.5')), undefined, 'no name that leads elsewhere')
  const other = await openReplica(1)
  await pull(other.replica, replica)
  await other.replica.write([controllerOp(1, { name: 'web' })])
  await exchange(replica, other.replica)
  assert.equal(find('web'), '10.77.255.2')
  await replica.write([controllerOp(1, { name: 'web', removedAt: START })])
  assert.equal(find('web'), undefined)
})

test('of two clients with one name the younger is asked for by its mark', async () => {
  const { names, find, add, views } = await world()
  await add(5, { name: 'web' })
  await add(0x60, { name: 'web', createdAt: START + 1 })
  const shown = views.client(clientId(0x60))!.name
  assert.match(shown, /^web~0000/)
  assert.equal(find('web'), '10.77.0.5')
  assert.equal(find(shown), '10.77.0.96')
  assert.equal(find(spellName(shown)), '10.77.0.96')
  assert.equal(names.nameOf(ip('10.77.0.96')), spellName(shown))
  assert.equal(find('web--ffff'), undefined)
})

test('a client that is really called so wins over the mark', async () => {
  const { find, add } = await world()
  await add(5, { name: 'web' })
  await add(0x60, { name: 'web', createdAt: START + 1 })
  await add(7, { name: 'web--0000' })
  assert.equal(find('web--0000'), '10.77.0.7')
})

test('dots in names make names in between, which come and go with them', async () => {
  const { replica, names, add } = await world()
  await add(5, { name: 'db.eu.west' })
  assert.ok(names.hasNamesBelow('eu.west') && names.hasNamesBelow('west'))
  assert.ok(!names.hasNamesBelow('db.eu.west') && !names.hasNamesBelow('est'))
  await add(6, { name: 'web.west' })
  await replica.write([clientOp(5, { name: 'db.north' })])
  assert.ok(!names.hasNamesBelow('eu.west') && names.hasNamesBelow('west') && names.hasNamesBelow('north'))
  await replica.write([{ kind: 'client', id: clientId(6), value: null }])
  assert.ok(!names.hasNamesBelow('west'))
})

test('names that DNS cannot carry are none', async () => {
  const { names, add } = await world()
  await add(5, { name: 'a..b' })
  await add(6, { name: 'web.' })
  assert.equal(names.nameOf(ip('10.77.0.5')), undefined)
  assert.equal(names.nameOf(ip('10.77.0.6')), undefined)
  assert.equal(meshDomain('prod'), 'prod.internal')
  assert.equal(meshDomain('prod.eu'), 'prod.eu.internal')
  assert.equal(meshDomain('prod.'), undefined)
  assert.ok(isDomainName(`${'a'.repeat(63)}.internal`) && !isDomainName(`${'a'.repeat(64)}.internal`))
  assert.equal(unspellName('web--1a2b'), 'web~1a2b')
  assert.equal(unspellName('web--xyz'), undefined)
})
