import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  formatStaticKey,
  formatTlsCryptV2ClientKey,
  formatTlsCryptV2ServerKey,
  MAX_WKC_LENGTH,
  MIN_WKC_LENGTH,
  parseStaticKey,
  parseTlsCryptV2ClientKey,
  parseTlsCryptV2ServerKey,
} from '../../../node/vpn/static-key.ts'
import { CLIENT_KEY, CLIENT_KEY_USER_METADATA, counting, SERVER_KEY, STATIC_KEY } from './published-keys.ts'

test('the published static key is read, and text around it ignored', () => {
  const key = parseStaticKey(STATIC_KEY)!
  assert.equal(key.length, 256)
  assert.equal(Buffer.from(key.subarray(0, 4)).toString('hex'), '37268ea8')
  assert.equal(Buffer.from(key.subarray(252)).toString('hex'), 'eeb8b9e6')
  assert.ok(STATIC_KEY.includes(formatStaticKey(key)))
  assert.deepEqual(parseStaticKey(STATIC_KEY.replaceAll('\n', '\r\n')), key)
})

test('the published tls-crypt-v2 keys are read and written as they are', () => {
  assert.deepEqual(parseTlsCryptV2ServerKey(SERVER_KEY), counting(128))
  assert.equal(formatTlsCryptV2ServerKey(counting(128)), SERVER_KEY)
  for (const [pem, length] of [
    [CLIENT_KEY, 299],
    [CLIENT_KEY_USER_METADATA, 297],
  ] as const) {
    const key = parseTlsCryptV2ClientKey(pem)!
    assert.deepEqual(key.kc, counting(256))
    assert.equal(key.wkc.length, length)
    assert.equal(formatTlsCryptV2ClientKey(key), pem)
  }
})

test('damaged key files are refused', () => {
  const damaged: [string, string][] = [
    ['empty', ''],
    ['no end', STATIC_KEY.slice(0, 500)],
    ['one digit less', STATIC_KEY.replace('37268ea8', '37268ea')],
    ['not hex', STATIC_KEY.replace('37268ea8', '37268eag')],
    ['a line less', STATIC_KEY.replace('37268ea8f95d7f71f9fb8fc03770c460\n', '')],
    ['end before begin', STATIC_KEY.split('\n').reverse().join('\n')],
    ['longer than any key file', STATIC_KEY + ' '.repeat(20_000)],
  ]
  for (const [what, text] of damaged) assert.equal(parseStaticKey(text), undefined, what)

  const body = CLIENT_KEY.split('\n').slice(1, -2)
  const pem = (lines: string[]) => CLIENT_KEY.replace(body.join('\n'), lines.join('\n'))
  assert.ok(parseTlsCryptV2ClientKey(pem(body)))
  assert.equal(parseTlsCryptV2ClientKey(pem(body.slice(0, -1))), undefined, 'last line lost')
  assert.equal(parseTlsCryptV2ClientKey(pem(body.slice(1))), undefined, 'first line lost')
  assert.equal(parseTlsCryptV2ClientKey(pem([...body.slice(0, -1), '!'])), undefined, 'not base64')
  assert.equal(parseTlsCryptV2ClientKey(SERVER_KEY), undefined, 'another kind of key')
  assert.equal(parseTlsCryptV2ServerKey(CLIENT_KEY), undefined, 'another kind of key')
  assert.equal(parseTlsCryptV2ServerKey(formatTlsCryptV2ServerKey(counting(127))), undefined, 'too short')
})

test('a wrapped key has its length at its end and is within the bounds', () => {
  const key = (length: number, stated = length) => {
    const wkc = new Uint8Array(length)
    wkc.set([stated >> 8, stated & 0xff], length - 2)
    return parseTlsCryptV2ClientKey(formatTlsCryptV2ClientKey({ kc: counting(256), wkc }))
  }
  assert.ok(key(MIN_WKC_LENGTH))
  assert.ok(key(MAX_WKC_LENGTH))
  assert.equal(key(MIN_WKC_LENGTH - 1), undefined)
  assert.equal(key(MAX_WKC_LENGTH + 1), undefined)
  assert.equal(key(299, 298), undefined)
})
