// Child SAs of IKEv1 that are missing while others of their tunnel are up.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { NamedSa } from '../../../node/ipsec/strongswan/carrying.ts'
import { Completing } from '../../../node/ipsec/strongswan/completing.ts'
import { ID, tunnel } from './tunnels.ts'

const two = tunnel({ ikeVersion: 1, initiate: true, remoteSubnets: ['10.50.0.0/24', '10.51.0.0/24'] })

function sa(children: Record<string, string>, ike: Record<string, string | string[]> = {}): NamedSa {
  const sections = Object.entries(children).map(([name, state], index) => [
    `${name}-${index}`,
    { name, state },
  ])
  return [ID, { state: 'ESTABLISHED', ...ike, 'child-sas': Object.fromEntries(sections) }]
}

test('one that is missing is asked for at once, and then ever more rarely', () => {
  const completing = new Completing(() => 0.5)
  const half = [sa({ [`${ID}-1`]: 'INSTALLED', [`${ID}-2`]: 'DELETED' })]
  assert.deepEqual(completing.due([two], half, 0), [[ID, [`${ID}-2`]]])
  assert.deepEqual(completing.due([two], half, 900), [])
  assert.deepEqual(completing.due([two], half, 1000), [[ID, [`${ID}-2`]]])
  assert.deepEqual(completing.due([two], half, 2900), [])
  assert.deepEqual(completing.due([two], half, 3000), [[ID, [`${ID}-2`]]])
})

test('one that is ended as soon as it is there is not asked for each time', () => {
  const completing = new Completing(() => 0.5)
  const half = [sa({ [`${ID}-1`]: 'INSTALLED' })]
  const whole = [sa({ [`${ID}-1`]: 'INSTALLED', [`${ID}-2`]: 'INSTALLED' })]
  const asked: number[] = []
  for (let now = 0; now <= 10_000; now += 100) {
    if (completing.due([two], half, now).length > 0) asked.push(now)
    assert.deepEqual(completing.due([two], whole, now + 50), [])
  }
  assert.deepEqual(asked, [0, 1000, 3000, 7000])
  assert.deepEqual(completing.due([two], whole, 20_000), [])
  assert.deepEqual(completing.due([two], half, 30_000), [[ID, [`${ID}-2`]]], 'it had been there for long')
})

test('none is while all are there, none is, the daemon is at work, or the site dials', () => {
  const completing = new Completing(() => 0.5)
  const half = { [`${ID}-1`]: 'INSTALLED' }
  const states: [NamedSa[], typeof two][] = [
    [[sa(half), sa({ [`${ID}-2`]: 'REKEYING' })], two],
    [[sa({})], two],
    [[], two],
    [[sa(half, { 'tasks-active': ['QUICK_MODE'] })], two],
    [[sa(half), sa({}, { state: 'CONNECTING' })], two],
    [[sa(half)], { ...two, initiate: false }],
    [[sa(half)], { ...two, ikeVersion: 2 }],
  ]
  for (const [sas, each] of states) assert.deepEqual(completing.due([each], sas, 0), [])
})
