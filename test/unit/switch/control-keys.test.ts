// The wrapping of control packets by OpenSSL's functions makes what node:crypto makes.
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { ControlKeys } from '../../../node/switch/sys/control-keys.ts'
import { wrapKeys } from '../../../node/vpn/wrap-keys.ts'

test('tags and texts are those of node:crypto, at every length and with keys in turn', () => {
  const keys = Array.from({ length: 3 }, () => {
    const [cipher, hmac] = [randomBytes(32), randomBytes(32)]
    return { native: new ControlKeys(cipher, hmac), node: wrapKeys(cipher, hmac) }
  })
  for (let length = 0; length <= 4096 - 17; length += length < 70 ? 1 : 67) {
    const { native, node } = keys[length % keys.length]
    const [header, text] = [randomBytes(17), randomBytes(length)]
    const tag = native.tag(header, text)
    assert.deepEqual(Buffer.from(tag), node.tag(header, text))
    const sealed = native.ctr(tag, text)
    assert.deepEqual(Buffer.from(sealed), node.ctr(tag, text))
    assert.deepEqual(Buffer.from(native.ctr(tag, sealed)), text)
  }
})

test('keys are copied', () => {
  const [cipher, hmac] = [randomBytes(32), randomBytes(32)]
  const keys = new ControlKeys(cipher, hmac)
  const before = keys.tag(cipher, hmac)
  const [wasCipher, wasHmac] = [Buffer.from(cipher), Buffer.from(hmac)]
  cipher.fill(0)
  hmac.fill(0)
  assert.deepEqual(keys.tag(wasCipher, wasHmac), before)
})

test('what is too long or too short is refused before OpenSSL sees it', () => {
  const keys = new ControlKeys(randomBytes(32), randomBytes(32))
  assert.throws(() => keys.tag(new Uint8Array(17), new Uint8Array(4080)), /ERANGE_ARENA \(4097 bytes\)/)
  assert.throws(() => keys.ctr(new Uint8Array(32), new Uint8Array(4097)), /ERANGE_ARENA \(4097 bytes\)/)
  assert.throws(() => keys.ctr(new Uint8Array(15), new Uint8Array(1)), /ECRYPTO/)
  assert.throws(() => new ControlKeys(new Uint8Array(31), new Uint8Array(32)), /31 and 32 bytes/)
  assert.throws(() => new ControlKeys(new Uint8Array(32), new Uint8Array(33)), /32 and 33 bytes/)
  assert.equal(keys.tag(new Uint8Array(17), new Uint8Array(4079)).length, 32)
  assert.equal(keys.ctr(new Uint8Array(16), new Uint8Array(4096)).length, 4096)
})
