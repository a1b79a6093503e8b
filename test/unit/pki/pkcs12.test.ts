import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { test } from 'node:test'
import { PkiError } from '../../../node/pki/errors.ts'
import { formatPrivateKey, newPrivateKey } from '../../../node/pki/keys.ts'
import { makePkcs12 } from '../../../node/pki/pkcs12.ts'
import { makePki, openssl, opensslRefuses, type Pki, scratch } from './meshes.ts'

const requestOf = ({ root, issuing, client }: Pki) => ({
  name: 'web',
  privateKey: client.privateKey,
  certificate: client.certificate,
  chain: [issuing.certificate, root.certificate],
})

test('openssl reads all that is in it, without -legacy', async t => {
  const write = scratch(t)
  const pki = makePki()
  const file = write('web.p12', makePkcs12({ ...requestOf(pki), password: 'pässword' }))
  const read = (...args: string[]) =>
    openssl('pkcs12', '-in', file, '-passin', 'pass:pässword', '-noenc', ...args)
  const certificates = await read('-nokeys')
  const found = certificates
    .split(/(?<=-----END CERTIFICATE-----\n)/)
    .filter(part => part.includes('BEGIN'))
    .map(part => new X509Certificate(part).fingerprint256)
  const wanted = [pki.client, pki.issuing, pki.root].map(({ certificate }) => certificate.fingerprint256)
  assert.deepEqual(found, wanted)
  assert.ok((await read('-nocerts')).endsWith(formatPrivateKey(pki.client.privateKey)))
  assert.match(await read('-clcerts', '-nokeys'), /friendlyName: web.*localKeyID.*CN = web/s)
})

test('only the password opens it', async t => {
  const write = scratch(t)
  const file = write('web.p12', makePkcs12({ ...requestOf(makePki()), password: 'password' }))
  for (const wrong of ['', 'Password', 'password ']) {
    assert.match(
      await opensslRefuses('pkcs12', '-in', file, '-passin', `pass:${wrong}`, '-noout'),
      /invalid password/,
    )
  }
})

test('without a password the empty one opens it', async t => {
  const write = scratch(t)
  const file = write('web.p12', makePkcs12(requestOf(makePki())))
  await openssl('pkcs12', '-in', file, '-passin', 'pass:', '-noout')
})

test('its algorithms are those of today', async t => {
  const write = scratch(t)
  const pki = makePki()
  const file = write('web.p12', makePkcs12({ ...requestOf(pki), password: 'x' }))
  // openssl says this on standard error.
  const info = await opensslRefuses('pkcs12', '-in', file, '-info', '-noout', '-passin', 'pass:wrong')
  assert.match(info, /MAC: sha256, Iteration 10000/)
  const structure = await openssl('asn1parse', '-inform', 'DER', '-in', file)
  assert.doesNotMatch(structure, /RC2|DES|sha1/i)
})

test('the bytes follow from the arguments and the random source', () => {
  const pki = makePki()
  const random = (size: number) => new Uint8Array(size).fill(9)
  assert.deepEqual(makePkcs12({ ...requestOf(pki), random }), makePkcs12({ ...requestOf(pki), random }))
  assert.notDeepEqual(makePkcs12(requestOf(pki)), makePkcs12(requestOf(pki)))
})

test('a key that is not that of the certificate is refused', () => {
  assert.throws(
    () => makePkcs12({ ...requestOf(makePki()), privateKey: newPrivateKey() }),
    (error: unknown) => error instanceof PkiError && error.code === 'KEY_MISMATCH',
  )
})
