// What is told of a tunnel's problems, and when.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Tunnel } from '../../../node/ipsec/engine.ts'
import { readReport } from '../../../node/ipsec/report.ts'
import { HostNames } from '../../../node/ipsec/strongswan/host-names.ts'
import { LogReader } from '../../../node/ipsec/strongswan/log-reader.ts'
import { Problems } from '../../../node/ipsec/strongswan/problems.ts'
import { MAX_TIME } from '../../../state/clock.ts'
import { ID, tunnel } from './tunnels.ts'

function bench(...tunnels: Tunnel[]) {
  const state = { now: 0, informed: true }
  const log = new LogReader()
  const problems = new Problems({
    log,
    names: new HostNames(),
    tunnels: () => (tunnels.length > 0 ? tunnels : [tunnel()]),
    isUp: () => false,
    isInformed: () => state.informed,
    now: () => state.now,
  })
  const told: string[] = []
  problems.onProblem = (id, text) => void told.push(`${id} ${text}`)
  return { state, log, told }
}

const UNKNOWN = '05[IKE] no IKE config found for 192.0.2.1...192.0.2.2, sending NO_PROPOSAL_CHOSEN'
const NAMED = `05[IKE] <${ID}|7> received AUTHENTICATION_FAILED notify error`

test('a daemon that does not know its tunnels yet has no problem with what it does not know', () => {
  const { state, log, told } = bench()
  const arrive = () => {
    log.read('05[NET] received packet: from 192.0.2.2[500] to 192.0.2.1[500] (336 bytes)')
    log.read(UNKNOWN)
  }
  state.informed = false
  arrive()
  assert.deepEqual(told, [])
  log.read(NAMED)
  assert.equal(told.length, 1)
  state.informed = true
  arrive()
  assert.match(told[1], new RegExp(`^${ID} no proposal chosen: .* another IKE version`))
})

test('the same is told again after a while only', () => {
  const { state, log, told } = bench()
  log.read(NAMED)
  state.now += 4999
  log.read(NAMED)
  assert.equal(told.length, 1)
  state.now += 1
  log.read(NAMED)
  assert.equal(told.length, 2)
})

test('what nobody can be told by is not laid at the door of a site that has another problem elsewhere, and says whence it comes', () => {
  const other = 'ffffffffffffffff'
  const { log, told } = bench(
    tunnel({ remote: '%any' }),
    tunnel({ id: other, remote: '%any', remoteId: 'other' }),
  )
  const arriveFrom = (address: string) => {
    log.read(`05[NET] received packet: from ${address}[500] to 192.0.2.1[500] (336 bytes)`)
    log.read(UNKNOWN.replace('192.0.2.2', address))
  }
  log.read('05[NET] received packet: from 192.0.2.2[500] to 192.0.2.1[500] (336 bytes)')
  log.read(NAMED)
  assert.match(told.splice(0).join(), new RegExp(`^${ID} authentication failed`))
  arriveFrom('192.0.2.9')
  assert.match(
    told.splice(0).join(),
    new RegExp(`^${other} no proposal chosen: .* \\(a device at 192.0.2.9, maybe another's\\)$`),
  )
  arriveFrom('192.0.2.2')
  assert.match(
    told.join('\n'),
    new RegExp(`^${ID} no proposal chosen: .* version than this attachment$`, 'm'),
  )
})

test('what another controller says of problems is read only with times that there are', () => {
  const report = (at: number) => ({ problems: { [ID]: { at, text: 'no answer' } }, sas: [] })
  for (const at of [0, Date.now(), MAX_TIME])
    assert.deepEqual(readReport(JSON.stringify(report(at))), report(at))
  for (const at of ['-1', String(MAX_TIME + 1), '1e300', '1e400', 'null'])
    assert.equal(readReport(`{"problems":{"${ID}":{"at":${at},"text":"no answer"}},"sas":[]}`), undefined)
})

test('a daemon without IKE version 1, as strongSwan 6.1 of Debian is, says so of each tunnel that has it, whoever dials', () => {
  const other = 'ffffffffffffffff'
  const { log, told } = bench(tunnel({ ikeVersion: 1 }), tunnel({ id: other, remote: '192.0.2.3' }))
  log.read('11[CFG] vici initiate CHILD_SA')
  log.read('11[IKE] IKE version 1 not supported')
  assert.deepEqual(told, [`${ID} this controller's strongSwan is built without IKE version 1`])
  for (const last of [2, 3])
    log.read(
      `02[NET] received unsupported IKE version 1.0 from 192.0.2.${last}, sending INVALID_MAJOR_VERSION`,
    )
  assert.equal(told.length, 3)
  for (const [index, id] of [ID, other].entries())
    assert.match(told[index + 1], new RegExp(`^${id} no proposal chosen: the remote end uses IKE version 1,`))
})
