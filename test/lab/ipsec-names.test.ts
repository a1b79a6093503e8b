// Sites that are given by host name, while the controller's resolver is silent.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { EngineLab, ID } from './engine-lab.ts'
import { useLab } from './suite.ts'

const NAME = 'site.example'
const OTHER = 'ffffffffffffffff'
/** ms after which a daemon that does not answer is given up, and a little more. */
const GIVEN_UP_MS = 12_000

let ipsec: EngineLab
useLab('names', async lab => {
  ipsec = await EngineLab.create(lab, 'silent')
})

test('one that cannot be found is told, and costs the others nothing', async () => {
  const first = ipsec.tunnel({ initiate: true })
  await ipsec.up(first)
  const charon = ipsec.charonPid()
  const mark = ipsec.engine.mark()
  const other = ipsec.tunnel({ id: OTHER, name: 'other', remote: NAME, remoteId: 'other', initiate: true })
  await ipsec.set(first, { ...other, remoteSubnets: ['10.51.0.0/24'] })
  await ipsec.engine.waitFor(new RegExp(`problem ${OTHER} name not resolved: ${NAME}`), 30, mark)
  await sleep(GIVEN_UP_MS)
  assert.equal(ipsec.engine.count(/engine: (?:down|state)/, mark), 0)
  assert.equal(ipsec.charonPid(), charon)
  assert.equal(JSON.parse(await ipsec.order('sas')).length, 1)
})

test('one that dials in is taken as soon as it is found, though it was refused before', async () => {
  const mark = ipsec.engine.mark()
  await ipsec.set(ipsec.tunnel({ remote: NAME }))
  await ipsec.engine.waitFor(new RegExp(`problem ${ID} name not resolved: ${NAME}`), 30, mark)
  await ipsec.siteDials()
  assert.equal(ipsec.engine.count(/engine: up/, mark), 0)
  ipsec.know(NAME)
  await ipsec.engine.waitFor(new RegExp(`added vici connection: ${ID}`), 60, mark)
  await ipsec.siteDials()
  await ipsec.engine.waitFor(new RegExp(`engine: up ${ID}`), 10, mark)
})

test('and one that is dialled is dialled then', async () => {
  await ipsec.set()
  await ipsec.up(ipsec.tunnel({ remote: NAME, initiate: true }))
})
