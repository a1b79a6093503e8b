import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { ControlChannel } from '../../../node/vpn/control-channel.ts'
import { ControlWrap } from '../../../node/vpn/control-wrap.ts'
import { KeyRing } from '../../../node/vpn/key-ring.ts'
import { TlsCrypt } from '../../../node/vpn/tls-crypt.ts'

/** @param events what the ring says of its keys */
function ringOf(events: string[]): KeyRing {
  const wrap = new ControlWrap(new TlsCrypt(randomBytes(256), 'server'), 0)
  return new KeyRing({
    now: () => 0,
    handshakeMs: 1000,
    open: (keyId, firstMessage) =>
      new ControlChannel({
        ...{ keyId, firstMessage, wrap, localSid: randomBytes(8), remoteSid: randomBytes(8) },
        send() {},
        now: () => 0,
        tls: () => ({
          receive() {},
          write() {},
          exportKey: length => new Uint8Array(length),
          peer: undefined,
          certificateProblem: undefined,
          version: '',
          close() {},
        }),
        secure() {},
        data() {},
        closed() {},
      }),
    use: keyId => events.push(`use ${keyId}`),
    drop: keyId => events.push(`drop ${keyId}`),
    failed: () => events.push('failed'),
  })
}

test('the first negotiation is no renegotiation, whatever becomes of it', () => {
  const ring = ringOf([])
  const first = ring.begin(0, 1)
  assert.equal(ring.underway, undefined)
  assert.equal(ring.speaker, first)
})

test('a renegotiation is underway until keys were exchanged, and may be given up', () => {
  const events: string[] = []
  const ring = ringOf(events)
  const first = ring.begin(0, 1)
  first.exchanged = true
  ring.establish(first)
  assert.equal(ring.underway, undefined)
  const second = ring.renegotiate()
  assert.ok(second)
  assert.equal(ring.underway, second)
  ring.abandon(second)
  assert.equal(ring.underway, undefined)
  assert.deepEqual(events, ['drop 1', 'failed'])
  const third = ring.renegotiate()
  assert.ok(third)
  third.exchanged = true
  assert.equal(ring.underway, undefined)
  assert.equal(ring.speaker, third)
})
