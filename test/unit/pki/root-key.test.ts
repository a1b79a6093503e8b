import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PkiError, type PkiErrorCode } from '../../../node/pki/errors.ts'
import { formatPrivateKey, newPrivateKey } from '../../../node/pki/keys.ts'
import { exportRootKey, importRootKey } from '../../../node/pki/root-key.ts'
import { openssl, scratch } from './meshes.ts'

const refusedAs = (code: PkiErrorCode) => (error: unknown) => error instanceof PkiError && error.code === code

test('the key comes back with its passphrase, and with no other', () => {
  const key = newPrivateKey()
  const pem = exportRootKey(key, 'correct horse — ünïcode')
  assert.equal(importRootKey(pem, 'correct horse — ünïcode').equals(key), true)
  for (const wrong of ['correct horse', '', 'CORRECT HORSE — ünïcode', 'x'.repeat(5000)]) {
    assert.throws(() => importRootKey(pem, wrong), refusedAs('WRONG_PASSPHRASE'))
  }
  assert.equal(
    pem.includes(key.export({ type: 'pkcs8', format: 'der' }).toString('base64').slice(20, 60)),
    false,
  )
})

test('openssl reads it, and finds it well protected', async t => {
  const write = scratch(t)
  const key = newPrivateKey()
  const file = write('root.pem', exportRootKey(key, 'secret'))
  const plain = await openssl('pkcs8', '-in', file, '-passin', 'pass:secret')
  assert.equal(plain, formatPrivateKey(key))
  const structure = await openssl('asn1parse', '-in', file)
  assert.match(structure, /:PBES2/)
  assert.match(structure, /:hmacWithSHA256/)
  assert.match(structure, /:aes-256-cbc/)
  assert.match(structure, /INTEGER +:0927C0/, '600,000 iterations')
})

test('what is no exported key is told from a wrong passphrase', () => {
  const key = newPrivateKey()
  assert.throws(() => importRootKey('', 'x'), refusedAs('UNREADABLE'))
  assert.throws(() => importRootKey(formatPrivateKey(key), 'x'), refusedAs('UNREADABLE'))
  assert.throws(() => importRootKey('x'.repeat(100_000), 'x'), refusedAs('UNREADABLE'))
  const damaged = exportRootKey(key, 'x').replace(/\n.{64}\n/, '\n')
  assert.throws(() => importRootKey(damaged, 'x'), refusedAs('WRONG_PASSPHRASE'))
})

test('a passphrase that protects nothing, or that could not be given again, is refused', () => {
  const key = newPrivateKey()
  assert.throws(() => exportRootKey(key, ''), refusedAs('BAD_ARGUMENT'))
  assert.throws(() => exportRootKey(key, 'x'.repeat(1001)), refusedAs('BAD_ARGUMENT'))
  const longest = 'ü'.repeat(500)
  assert.equal(importRootKey(exportRootKey(key, longest), longest).equals(key), true)
})
