import assert from 'node:assert/strict'
import { test } from 'node:test'
import { encodeHeader, OPCODE } from '../../../node/vpn/packet.ts'
import {
  formatTlsCryptV2ClientKey,
  MAX_WKC_LENGTH,
  parseTlsCryptV2ClientKey,
  parseTlsCryptV2ServerKey,
} from '../../../node/vpn/static-key.ts'
import { TlsCrypt } from '../../../node/vpn/tls-crypt.ts'
import {
  generateClientKey,
  generateServerKey,
  MAX_METADATA,
  METADATA_TIME,
  splitWkc,
  TlsCryptV2Server,
} from '../../../node/vpn/tls-crypt-v2.ts'
import { wrapKeys } from '../../../node/vpn/wrap-keys.ts'
import { CLIENT_KEY, CLIENT_KEY_USER_METADATA, counting, hex, SERVER_KEY } from './published-keys.ts'

const SERVER = new TlsCryptV2Server(parseTlsCryptV2ServerKey(SERVER_KEY)!)

// The vectors are of OpenVPN's tests/unit_tests/openvpn/test_tls_crypt.c.
test('the published client keys unwrap to key and metadata', () => {
  for (const [pem, metadata] of [
    [CLIENT_KEY, '01 0000000000000000'],
    [CLIENT_KEY_USER_METADATA, '00 0000410820c3'],
  ] as const) {
    const client = SERVER.unwrapClientKey(parseTlsCryptV2ClientKey(pem)!.wkc)!
    assert.deepEqual(Uint8Array.from(client.kc), counting(256))
    assert.deepEqual(Uint8Array.from(client.metadata), hex(metadata))
  }
})

test('keys are generated as published, from the same random bytes', () => {
  assert.deepEqual(generateServerKey(counting), counting(128))
  assert.equal(
    formatTlsCryptV2ClientKey(generateClientKey(SERVER, hex('0000410820c3'), counting)),
    CLIENT_KEY_USER_METADATA,
  )
  const timed = {
    kc: counting(256),
    wkc: SERVER.wrapClientKey(counting(256), Uint8Array.of(METADATA_TIME, ...new Uint8Array(8))),
  }
  assert.equal(formatTlsCryptV2ClientKey(timed), CLIENT_KEY)
})

test('no metadata and the longest go through, more is a mistake of the caller', () => {
  const none = SERVER.unwrapClientKey(SERVER.wrapClientKey(counting(256), new Uint8Array(0)))!
  assert.equal(none.metadata.length, 0)
  const longest = generateClientKey(SERVER, counting(MAX_METADATA), counting)
  assert.equal(longest.wkc.length, MAX_WKC_LENGTH)
  assert.deepEqual(
    Uint8Array.from(SERVER.unwrapClientKey(longest.wkc)!.metadata.subarray(1)),
    counting(MAX_METADATA),
  )
  assert.throws(() => generateClientKey(SERVER, counting(MAX_METADATA + 1), counting), RangeError)
  assert.throws(() => SERVER.wrapClientKey(counting(255), new Uint8Array(1)), RangeError)
  assert.throws(() => new TlsCryptV2Server(counting(127)), RangeError)
})

test('a wrapped key that was changed anywhere, cut, or wrapped by another server is refused', () => {
  const { wkc } = parseTlsCryptV2ClientKey(CLIENT_KEY)!
  for (let at = 0; at < wkc.length; at++) {
    const damaged = wkc.slice()
    damaged[at] ^= 0x55
    assert.equal(SERVER.unwrapClientKey(damaged), undefined, `byte ${at}`)
    assert.equal(SERVER.unwrapClientKey(wkc.subarray(at + 1)), undefined, `first ${at + 1} bytes lost`)
    assert.equal(SERVER.unwrapClientKey(wkc.subarray(0, at)), undefined, `cut to ${at}`)
  }
  assert.equal(new TlsCryptV2Server(new Uint8Array(128)).unwrapClientKey(wkc), undefined)
})

test('a wrapped key of a length that cannot be, or that is not the one it states, is refused though its tag is right', () => {
  const server = parseTlsCryptV2ServerKey(SERVER_KEY)!
  const keys = wrapKeys(server.subarray(0, 32), server.subarray(64, 96))
  const wrapped = (length: number, stated = length): Uint8Array => {
    const field = Uint8Array.of(stated >> 8, stated & 0xff)
    const plain = counting(length - 34)
    const tag = keys.tag(field, plain)
    return Buffer.concat([tag, keys.ctr(tag, plain), field])
  }
  for (const length of [290, 1024]) assert.ok(SERVER.unwrapClientKey(wrapped(length)), `${length}`)
  for (const length of [34, 289, 1025])
    assert.equal(SERVER.unwrapClientKey(wrapped(length)), undefined, `${length}`)
  for (const stated of [0, 299, 301])
    assert.equal(SERVER.unwrapClientKey(wrapped(300, stated)), undefined, `${stated}`)
})

const { kc, wkc } = parseTlsCryptV2ClientKey(CLIENT_KEY)!
const RESET = new TlsCrypt(kc, 'client').wrap(
  encodeHeader(OPCODE.hardResetClientV3, 0, counting(8)),
  counting(8),
  new Uint8Array(5),
)

test('a wrapped key is taken off the end of a packet', () => {
  const split = splitWkc(Buffer.concat([RESET, wkc]))!
  assert.deepEqual(Uint8Array.from(split.packet), RESET)
  assert.deepEqual(Uint8Array.from(split.wkc), wkc)
  assert.ok(new TlsCrypt(kc, 'server').unwrap(split.packet))
})

// CVE-2026-35058: the length field reached into the packet before the key.
test('a length field that does not fit the packet is refused', () => {
  const packet = Buffer.concat([RESET, wkc])
  for (const length of [0, 1, 289, MAX_WKC_LENGTH + 1, packet.length, packet.length - 9, 0xffff]) {
    packet.writeUInt16BE(length, packet.length - 2)
    assert.equal(splitWkc(packet), undefined, `${length}`)
  }
  assert.equal(splitWkc(wkc), undefined, 'a wrapped key alone')
  assert.equal(splitWkc(Buffer.concat([Uint8Array.of(0x50), wkc])), undefined, 'one byte before it')
  for (const length of [0, 1, 2, 9]) assert.equal(splitWkc(new Uint8Array(length)), undefined)
})

test('the shortest and the longest wrapped key are taken off the shortest packet, and of none is less left', () => {
  // Header, packet id, tag and one byte of text.
  const least = 9 + 8 + 32 + 1
  const packetOf = (before: number, length: number): Uint8Array => {
    const packet = Buffer.alloc(before + length)
    packet.writeUInt16BE(length, packet.length - 2)
    return packet
  }
  for (const length of [290, 1024]) {
    const split = splitWkc(packetOf(least, length))!
    assert.deepEqual([split.packet.length, split.wkc.length], [least, length])
    assert.equal(splitWkc(packetOf(least - 1, length)), undefined, `${length}`)
  }
  for (const length of [289, 1025]) assert.equal(splitWkc(packetOf(1000, length)), undefined, `${length}`)
})
