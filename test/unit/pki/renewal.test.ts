import assert from 'node:assert/strict'
import { test } from 'node:test'
import { LIFETIMES, nextCheck, renewalDue, renewalTime } from '../../../node/pki/renewal.ts'
import { DAY, makePki, serverOf } from './meshes.ts'

const NOW = Date.UTC(2026, 5, 1)
const MINUTE = 60_000
const HOUR = 3_600_000
const LIFETIME = LIFETIMES.server * 1000

test('a certificate is renewed with a third of its lifetime left, or up to a twentieth earlier', () => {
  const { issuing } = makePki(NOW)
  const times = Array.from({ length: 40 }, () => renewalTime(serverOf(issuing, NOW).certificate) - NOW)
  for (const time of times) {
    assert.ok(time > LIFETIME * 0.61 && time < LIFETIME * 0.667, String(time / LIFETIME))
  }
  assert.ok(Math.max(...times) - Math.min(...times) > LIFETIME * 0.01, 'they do not all come at once')
})

test('the time is the same each time it is asked for', () => {
  const { certificate } = makePki(NOW).server
  const time = renewalTime(certificate)
  assert.equal(renewalTime(certificate), time)
  assert.equal(renewalDue(certificate, time - 1), false)
  assert.equal(renewalDue(certificate, time), true)
})

test('the next look is at the first renewal, within six hours, and never sooner than in a minute', () => {
  const { server, issuing } = makePki(NOW)
  const certificates = [issuing.certificate, server.certificate]
  const due = renewalTime(server.certificate)
  assert.equal(nextCheck(certificates, NOW), NOW + 6 * HOUR)
  assert.equal(nextCheck(certificates, due - HOUR), due)
  assert.equal(nextCheck(certificates, due - 1), due - 1 + MINUTE)
  assert.equal(nextCheck([], NOW), NOW + 6 * HOUR)
})

test('a renewal that fails is tried again, the more often the less is left, and for ever', () => {
  const { certificate } = makePki(NOW).server
  const end = certificate.validToDate.getTime()
  assert.equal(nextCheck([certificate], end - 20 * DAY), end - 20 * DAY + (20 * DAY) / 100)
  assert.equal(nextCheck([certificate], end - HOUR), end - HOUR + MINUTE)
  assert.equal(nextCheck([certificate], end + DAY), end + DAY + MINUTE)
})
