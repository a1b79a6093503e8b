import assert from 'node:assert/strict'
import { createCipheriv, createHmac } from 'node:crypto'
import { test } from 'node:test'
import { decodeControlBody, encodeHeader, OPCODE } from '../../../node/vpn/packet.ts'
import { parseStaticKey } from '../../../node/vpn/static-key.ts'
import { dynamicTlsCryptKey, TLS_CRYPT_OVERHEAD, TlsCrypt } from '../../../node/vpn/tls-crypt.ts'
import { counting, hex, STATIC_KEY } from './published-keys.ts'

// Packets of OpenVPN's tests/unit_tests/openvpn/test_pkt.c, wrapped by its client with the published static key.
const KEY = parseStaticKey(STATIC_KEY)!
const RESET_CRYPT = hex(`38f419cb12d1f9e48f 00000001 61d3f8e1
  330206f56802be44fbed905064e3db43416bec5e526719462b7eb90c96defc9b 05c44879f7`)
const RESET_AUTH = hex(
  `38de694c5c7bfba274 93537c1ded4e781529ae7cfe4b8c6d6b2b51f05a 00000001 61d3bf6c 0000000000`,
)
const RESET_NONE = hex('38 68 91 92 3f a3 10 34 37 00 00 00 00 00')

test('the published tls-crypt reset of a client is read', () => {
  const unwrapped = new TlsCrypt(KEY, 'server').unwrap(RESET_CRYPT)!
  assert.deepEqual(
    { ...unwrapped, plaintext: hex(Buffer.from(unwrapped.plaintext).toString('hex')) },
    {
      opcode: OPCODE.hardResetClientV2,
      keyId: 0,
      sid: hex('f419cb12d1f9e48f'),
      counter: 1,
      time: 0x61d3f8e1,
      plaintext: hex('0000000000'),
    },
  )
  assert.equal(decodeControlBody(unwrapped.opcode, unwrapped.plaintext)?.messageId, 0)
})

test('a client writes the published tls-crypt reset byte for byte', () => {
  const header = encodeHeader(OPCODE.hardResetClientV2, 0, hex('f419cb12d1f9e48f'))
  const packet = new TlsCrypt(KEY, 'client').wrap(header, hex('0000000161d3f8e1'), hex('0000000000'))
  assert.deepEqual(packet, RESET_CRYPT)
})

test('each end sends with its own half of the key, which the other receives with', () => {
  const header = encodeHeader(OPCODE.controlV1, 0, counting(8))
  const text = counting(50)
  for (const [from, to, at] of [
    ['server', 'client', 0],
    ['client', 'server', 128],
  ] as const) {
    const packet = new TlsCrypt(KEY, from).wrap(header, hex('00000001 61d3f8e1'), text)
    const hmac = createHmac('sha256', KEY.subarray(at + 64, at + 96))
    const tag = hmac.update(packet.subarray(0, 17)).update(text).digest()
    const cipher = createCipheriv('aes-256-ctr', KEY.subarray(at, at + 32), tag.subarray(0, 16))
    assert.deepEqual(Buffer.from(packet.subarray(17)), Buffer.concat([tag, cipher.update(text)]))
    assert.deepEqual(Uint8Array.from(new TlsCrypt(KEY, to).unwrap(packet)!.plaintext), text)
    assert.equal(new TlsCrypt(KEY, from).unwrap(packet), undefined)
  }
})

test('what becomes of the memory of a key once it is made is of no matter', () => {
  const key = Uint8Array.from(KEY)
  const server = new TlsCrypt(key, 'server')
  key.fill(0)
  assert.ok(server.unwrap(RESET_CRYPT))
})

test('tls-crypt refuses what test_pkt.c says it must', () => {
  const server = new TlsCrypt(KEY, 'server')
  assert.equal(server.unwrap(RESET_AUTH), undefined, 'a tls-auth packet')
  assert.equal(server.unwrap(RESET_NONE), undefined, 'a plain packet')
  assert.equal(new TlsCrypt(KEY, 'client').unwrap(RESET_CRYPT), undefined, 'the other direction')
  for (let at = 0; at < RESET_CRYPT.length; at++) {
    const damaged = RESET_CRYPT.slice()
    damaged[at] = 0x23
    assert.equal(server.unwrap(damaged), undefined, `byte ${at}`)
    assert.equal(server.unwrap(RESET_CRYPT.subarray(0, at)), undefined, `cut to ${at}`)
  }
})

test('a packet is read where it lies in a larger buffer', () => {
  const memory = Buffer.alloc(200, 0xee)
  memory.set(RESET_CRYPT, 77)
  const unwrapped = new TlsCrypt(KEY, 'server').unwrap(memory.subarray(77, 77 + RESET_CRYPT.length))!
  memory.fill(0)
  assert.equal(unwrapped.counter, 1)
  assert.deepEqual(unwrapped.sid, hex('f419cb12d1f9e48f'), 'a copy: the receive buffer is used again')
})

test('a key of another length is a mistake of the caller', () => {
  assert.throws(() => new TlsCrypt(KEY.subarray(1), 'server'), RangeError)
})

// test_tls_crypt.c, test_tls_crypt_secure_reneg_key: exported bytes that are all 0xba, a message without opcode and
// session id.
test('the published message under a dynamic key is written byte for byte', () => {
  const wrap = (original?: Uint8Array) =>
    new TlsCrypt(dynamicTlsCryptKey(new Uint8Array(256).fill(0xba), original), 'client').wrap(
      new Uint8Array(0),
      hex('00000001 00000000'),
      Buffer.from('1234567890'),
    )
  const expected = hex(`00000001 00000000
    e319277f1c8d6e6a7796a855337b9cfb56e1f13a870e6647dfa195c92c17a015 ba4967a11d55ea1a06a7`)
  assert.deepEqual(wrap(), expected)
  assert.deepEqual(wrap(new Uint8Array(256)), expected)
  assert.notDeepEqual(wrap(new Uint8Array(256).fill(0x42)), expected)
})

test('a dynamic key is the exported bytes, XORed with the original key if there is one', () => {
  const exported = new Uint8Array(256).fill(0xba)
  assert.deepEqual(dynamicTlsCryptKey(exported), exported)
  assert.deepEqual(dynamicTlsCryptKey(exported, new Uint8Array(256)), exported)
  assert.deepEqual(
    dynamicTlsCryptKey(exported, new Uint8Array(256).fill(0x42)),
    new Uint8Array(256).fill(0xf8),
  )
  const key = dynamicTlsCryptKey(exported, counting(256))
  assert.equal(key[0], 0xba)
  assert.equal(key[255], 0xba ^ 255)
})

test('wrapping costs the stated overhead', () => {
  const packet = new TlsCrypt(KEY, 'server').wrap(new Uint8Array(9), new Uint8Array(8), new Uint8Array(100))
  assert.equal(packet.length, 9 + TLS_CRYPT_OVERHEAD + 100)
})
