import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { test } from 'node:test'
import { verifyChain } from '../../../node/pki/chain.ts'
import { PkiError, type PkiErrorCode } from '../../../node/pki/errors.ts'
import { checkKeyOf, newPrivateKey } from '../../../node/pki/keys.ts'
import { LIFETIMES } from '../../../node/pki/renewal.ts'
import { clientOf, DAY, issuingCa, makePki, openssl, scratch, YEAR } from './meshes.ts'

const NOW = Date.UTC(2026, 5, 1)
const refusedAs = (code: PkiErrorCode) => (error: unknown) => error instanceof PkiError && error.code === code

test('each certificate holds for its purpose', () => {
  const { root, issuing, server, client } = makePki(NOW)
  const between = [issuing.certificate]
  verifyChain(server.certificate, between, root.certificate, NOW, 'server')
  verifyChain(client.certificate, between, root.certificate, NOW, 'client')
  verifyChain(issuing.certificate, [], root.certificate, NOW, 'authority')
  verifyChain(client.certificate, between, root.certificate, NOW)
  const check = (certificate: typeof client.certificate, purpose: 'authority' | 'server' | 'client') => () =>
    verifyChain(certificate, between, root.certificate, NOW, purpose)
  assert.throws(check(client.certificate, 'server'), refusedAs('WRONG_PURPOSE'))
  assert.throws(check(client.certificate, 'authority'), refusedAs('WRONG_PURPOSE'))
  assert.throws(check(server.certificate, 'client'), refusedAs('WRONG_PURPOSE'))
  assert.throws(check(issuing.certificate, 'client'), refusedAs('WRONG_PURPOSE'))
})

test('a certificate of another mesh of the same names is refused', () => {
  const { root, issuing } = makePki(NOW)
  const other = makePki(NOW)
  const { certificate } = other.client
  assert.throws(
    () => verifyChain(certificate, [issuing.certificate], root.certificate, NOW),
    refusedAs('UNTRUSTED'),
  )
  assert.throws(
    () => verifyChain(certificate, [other.issuing.certificate], root.certificate, NOW),
    refusedAs('UNTRUSTED'),
  )
  assert.throws(() => verifyChain(certificate, [], root.certificate, NOW), refusedAs('UNTRUSTED'))
})

test('a leaf is no authority, and an issuing CA no root', () => {
  const { root, issuing, client } = makePki(NOW)
  const forged = clientOf({ certificate: client.certificate, privateKey: client.privateKey }, NOW)
  const between = [client.certificate, issuing.certificate]
  assert.throws(() => verifyChain(forged.certificate, between, root.certificate, NOW), refusedAs('UNTRUSTED'))
  assert.throws(() => verifyChain(client.certificate, [], issuing.certificate, NOW), refusedAs('UNTRUSTED'))
})

test('an authority below an issuing CA is none', () => {
  const { root, issuing } = makePki(NOW)
  const below = issuingCa(issuing, NOW)
  for (const purpose of ['authority', undefined] as const) {
    assert.throws(
      () => verifyChain(below.certificate, [issuing.certificate], root.certificate, NOW, purpose),
      refusedAs('UNTRUSTED'),
    )
  }
  const client = clientOf(below, NOW)
  const between = [below.certificate, issuing.certificate]
  // What it signs bears the subject and key identifier of an authority that is not there.
  assert.throws(() => verifyChain(client.certificate, between, root.certificate, NOW), refusedAs('UNTRUSTED'))
})

test('certificates with keys of another kind are refused, not choked on', async t => {
  const { root, issuing } = makePki(NOW)
  const write = scratch(t)
  for (const algorithm of ['rsa:2048', 'ed25519']) {
    const file = write('key.pem', '')
    const pem = await openssl(
      ...['req', '-x509', '-newkey', algorithm, '-noenc', '-keyout', file],
      ...['-subj', `/${issuing.certificate.subject.replaceAll('\n', '/')}`],
    )
    const foreign = new X509Certificate(pem)
    const leaf = clientOf(issuing, NOW).certificate
    const check = (leaf: X509Certificate, between: X509Certificate[]) => () =>
      verifyChain(leaf, between, root.certificate, NOW)
    assert.throws(check(foreign, [issuing.certificate]), refusedAs('UNTRUSTED'))
    assert.throws(check(leaf, [foreign]), refusedAs('UNTRUSTED'))
  }
})

test('validity counts at the time that is asked for', () => {
  const { root, issuing, client } = makePki(NOW)
  const at = (now: number) => () =>
    verifyChain(client.certificate, [issuing.certificate], root.certificate, now)
  at(NOW - 4 * 60_000)()
  assert.throws(at(NOW - 6 * 60_000), refusedAs('NOT_YET_VALID'))
  at(NOW + LIFETIMES.client * 1000)()
  assert.throws(at(NOW + LIFETIMES.client * 1000 + 1), refusedAs('EXPIRED'))
})

test('a leaf outlives its issuing certificate once that is renewed', () => {
  const { root, issuing } = makePki(NOW)
  const client = clientOf(issuing, NOW + 8 * YEAR)
  const later = NOW + 11 * YEAR
  const renewed = issuingCa(root, NOW + 9 * YEAR, issuing.privateKey)
  assert.throws(
    () => verifyChain(client.certificate, [issuing.certificate], root.certificate, later),
    refusedAs('EXPIRED'),
  )
  for (const between of [
    [issuing.certificate, renewed.certificate],
    [renewed.certificate, issuing.certificate],
  ]) {
    verifyChain(client.certificate, between, root.certificate, later, 'client')
  }
})

test('a key is told from another', () => {
  const { client } = makePki(NOW + DAY)
  checkKeyOf(client.certificate, client.privateKey, 'the client')
  assert.throws(
    () => checkKeyOf(client.certificate, newPrivateKey(), 'the client'),
    refusedAs('KEY_MISMATCH'),
  )
})
