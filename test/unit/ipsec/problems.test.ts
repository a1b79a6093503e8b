// What is told of a tunnel's problems, and when.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { HostNames } from '../../../node/ipsec/strongswan/host-names.ts'
import { LogReader } from '../../../node/ipsec/strongswan/log-reader.ts'
import { Problems } from '../../../node/ipsec/strongswan/problems.ts'
import { ID, tunnel } from './tunnels.ts'

function bench() {
  const state = { now: 0, informed: true }
  const log = new LogReader()
  const problems = new Problems({
    log,
    names: new HostNames(),
    tunnels: () => [tunnel()],
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
