import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { ProfileError, parseProfile } from '../../../node/vpn/profile.ts'
import { World } from './world.ts'

const pack = new World().pack('web', {
  remotes: [
    { host: 'vpn.example.net', port: 1194 },
    { host: '2001:db8::1', port: 443 },
  ],
})

function refusal(text: string): string {
  try {
    parseProfile(text)
  } catch (error) {
    assert.ok(error instanceof ProfileError, String(error))
    return error.message
  }
  return assert.fail('parsed')
}

test('a clientpack is understood', () => {
  const profile = parseProfile(pack)
  assert.deepEqual(profile.remotes, [
    { host: 'vpn.example.net', port: 1194 },
    { host: '2001:db8::1', port: 443 },
  ])
  assert.equal(profile.expectedName?.kind, 'name')
  assert.equal(profile.serverOnly, true)
  assert.equal(profile.pollMs, 1000)
  assert.equal(profile.retryMs, 0)
  assert.equal(profile.maxRetryMs, 1000)
  assert.deepEqual(profile.dataCiphers, ['AES-256-GCM', 'CHACHA20-POLY1305'])
  assert.equal(profile.tlsCryptV2.kc.length, 256)
  assert.equal(profile.cert.match(/BEGIN CERTIFICATE/g)?.length, 2)
  assert.equal(profile.pingMs, undefined)
})

test('options are read as OpenVPN reads them: quotes, comments, CRLF, order of port and remote', () => {
  const bare = pack.replace(/<connection>[\s\S]*?<\/connection>\n/g, '')
  const added = 'remote "a.example" # first\nremote b.example 7 udp6 ; second\nport 99\nping 3\nreneg-sec 0\n'
  const profile = parseProfile(`${bare}${added}`.replaceAll('\n', '\r\n'))
  assert.deepEqual(profile.remotes, [
    { host: 'a.example', port: 99 },
    { host: 'b.example', port: 7, family: 6 },
  ])
  assert.equal(profile.pingMs, 3000)
  assert.equal(profile.renegotiationMs, 0)
})

test('what is wrong is said with its line', () => {
  const line = pack.split('\n').length
  assert.equal(refusal(`${pack}remote a 70000`), `line ${line}: "70000" is no port`)
  assert.equal(
    refusal(`${pack}proto tcp`),
    `line ${line}: "tcp" is not supported by this client, only udp is`,
  )
  assert.equal(refusal(`${pack}tls-auth ta.key 1`), `line ${line}: tls-auth is not supported by this client`)
  assert.equal(refusal(`${pack}ca ca.crt`), `line ${line}: ca has to stand in the file itself, as <ca>`)
  assert.equal(refusal(`${pack}<ca>\nabc`), `line ${line}: <ca> is not closed`)
  assert.equal(refusal(`${pack}remote "a`), `line ${line}: a " is not closed`)
  assert.equal(refusal(`${pack}ping soon`), `line ${line}: ping: "soon" is no time in seconds`)
  assert.equal(
    refusal(`${pack}remote-cert-tls client`),
    `line ${line}: only remote-cert-tls server is for clients`,
  )
  assert.equal(refusal(pack.replace(/<key>[\s\S]*<\/key>/, '')), 'no <key>')
  assert.equal(
    refusal(pack.replace(/<connection>[\s\S]*?<\/connection>\n/g, '')),
    'no remote: nowhere to connect to',
  )
  assert.match(refusal(pack.replace(/(<tls-crypt-v2>\n.*\n)./, '$1!')), /holds no tls-crypt-v2 client key/)
  assert.equal(refusal(`${pack}${'remote a\n'.repeat(64)}`), 'more than 64 remotes')
  assert.match(refusal('x'.repeat(300_000)), /longer than/)
  assert.match(refusal('x\n'.repeat(9000)), /more than 8192 lines/)
})

test('any text is understood or refused by a ProfileError', () => {
  const lines = pack.split('\n')
  const line = fc.oneof(
    fc.string({ maxLength: 80 }),
    fc.constantFrom(...lines, '<ca>', '</ca>', '<connection>', '</connection>', 'remote a', 'port', 'proto'),
  )
  fc.assert(
    fc.property(fc.array(line, { maxLength: 40, size: 'max' }), fc.boolean(), (some, whole) => {
      try {
        parseProfile(`${whole ? pack : ''}${some.join('\n')}`)
      } catch (error) {
        assert.ok(error instanceof ProfileError, String(error))
      }
    }),
    { numRuns: 1000 },
  )
})
