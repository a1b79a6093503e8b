import assert from 'node:assert/strict'
import { test } from 'node:test'
import { lastMessage } from '../../../node/vpn/session-words.ts'

// IV_PROTO and IV_VER as these versions send them.
const OPENVPN_25 = { proto: 6, version: '2.5.11 linux' }
const OPENVPN_26 = { proto: 990, version: '2.6.14 linux' }
const OPENVPN_3_10 = { proto: 2974, version: 'v3.10.4 linux' }
const OPENVPN_3 = { proto: 8094, version: '3.11.7 linux' }

test('2.x goes on by RESTART, which OpenVPN 3 waits 5 seconds after', () => {
  for (const client of [OPENVPN_25, OPENVPN_26]) {
    assert.equal(lastMessage({ kind: 'restart', target: 'next' }, client), 'RESTART,[N]')
    assert.equal(lastMessage({ kind: 'restart', target: 'same' }, client), 'RESTART')
  }
  for (const client of [OPENVPN_3_10, OPENVPN_3]) {
    assert.equal(
      lastMessage({ kind: 'restart', target: 'next', reason: 'draining' }, client),
      'AUTH_FAILED,TEMP[backoff 1,advance remote]:draining',
    )
    assert.equal(
      lastMessage({ kind: 'restart', target: 'same' }, client),
      'AUTH_FAILED,TEMP[backoff 1,advance no]:connect anew',
    )
  }
})

test('what is refused for now is refused for good where a client knows no waiting', () => {
  const end = { kind: 'auth-failed', reason: 'not yet', temporary: true } as const
  assert.equal(lastMessage(end, OPENVPN_25), 'AUTH_FAILED,not yet')
  for (const client of [OPENVPN_26, OPENVPN_3])
    assert.equal(lastMessage(end, client), 'AUTH_FAILED,TEMP[backoff 10]:not yet')
})
