import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  type ClientKeyMethod,
  decodeClientKeyMethod,
  decodeServerKeyMethod,
  encodeClientKeyMethod,
  encodeServerKeyMethod,
} from '../../../node/vpn/key-method.ts'
import { counting, hex } from './published-keys.ts'

const CLIENT: ClientKeyMethod = {
  preMaster: counting(48),
  random1: new Uint8Array(32).fill(0xa1),
  random2: new Uint8Array(32).fill(0xa2),
  options:
    'V4,dev-type tun,link-mtu 1541,tun-mtu 1500,proto UDPv4,auth SHA1,keysize 128,key-method 2,tls-client',
  username: 'someone',
  password: '',
  peerInfo: 'IV_VER=2.6.14\nIV_PROTO=990\n',
}
const SERVER = { random1: CLIENT.random1, random2: CLIENT.random2, options: 'V4,tls-server' }

test('a message has the layout of key_method_2_write', () => {
  const bytes = encodeClientKeyMethod({ ...CLIENT, options: 'V4', peerInfo: 'IV_NCP=2\n' })
  assert.deepEqual(Uint8Array.from(bytes.subarray(0, 5)), hex('00000000 02'))
  assert.deepEqual(Uint8Array.from(bytes.subarray(5, 53)), counting(48))
  assert.equal(
    Buffer.from(bytes.subarray(117)).toString('latin1'),
    '\0\x03V4\0\0\x08someone\0\0\0\0\x0aIV_NCP=2\n\0',
  )
  const answer = encodeServerKeyMethod({ ...SERVER, options: 'V4' })
  assert.equal(Buffer.from(answer.subarray(69)).toString('latin1'), '\0\x03V4\0\0\0\0\0\0\0')
})

test('both messages come back as they were', () => {
  const client = encodeClientKeyMethod(CLIENT)
  assert.deepEqual(decodeClientKeyMethod(client), { value: CLIENT, used: client.length })
  const server = encodeServerKeyMethod(SERVER)
  assert.deepEqual(decodeServerKeyMethod(server), { value: SERVER, used: server.length })
  // The longest of each, and one whose length needs both bytes of the field.
  const longest = {
    ...CLIENT,
    options: 'o'.repeat(511),
    username: 'u'.repeat(4095),
    password: 'p'.repeat(300),
    peerInfo: 'i'.repeat(4095),
  }
  const long = encodeClientKeyMethod(longest)
  assert.deepEqual(decodeClientKeyMethod(long), { value: longest, used: long.length })
})

test('a message that is not all there is incomplete, and what comes behind it is not touched', () => {
  const client = encodeClientKeyMethod(CLIENT)
  for (let length = 0; length < client.length; length++) {
    assert.equal(decodeClientKeyMethod(client.subarray(0, length)), 'incomplete', `${length} bytes`)
  }
  const more = Buffer.concat([client, Buffer.from('PUSH_REQUEST\0')])
  assert.deepEqual(decodeClientKeyMethod(more), { value: CLIENT, used: client.length })
})

test("a server's empty strings may come now, later or never", () => {
  const server = encodeServerKeyMethod(SERVER)
  for (let missing = 0; missing <= 6; missing++) {
    const bytes = server.subarray(0, server.length - missing)
    assert.deepEqual(decodeServerKeyMethod(bytes), { value: SERVER, used: bytes.length })
  }
  for (let missing = 7; missing <= server.length; missing++) {
    assert.equal(decodeServerKeyMethod(server.subarray(0, server.length - missing)), 'incomplete')
  }
  for (const behind of ['PUSH_REPLY\0', '\0\0']) {
    const reply = Buffer.concat([server, Buffer.from(behind)])
    assert.deepEqual(decodeServerKeyMethod(reply), { value: SERVER, used: server.length })
  }
})

test('another key method or a string over its limit is bad at once, without waiting for its bytes', () => {
  for (const prefix of ['00000001', '0000000001', '0100000002', '0000000003']) {
    assert.equal(decodeClientKeyMethod(Buffer.concat([hex(prefix), new Uint8Array(200)])), 'bad', prefix)
  }
  const before = encodeClientKeyMethod({ ...CLIENT, options: '' }).subarray(0, 117)
  const withLength = (field: string): unknown => decodeClientKeyMethod(Buffer.concat([before, hex(field)]))
  assert.equal(withLength('0201'), 'bad', 'options of 513 bytes')
  assert.equal(withLength('0200'), 'incomplete', 'options of 512 bytes')
  assert.equal(withLength('0000 1001'), 'bad', 'a user name of 4097 bytes')
  assert.equal(withLength('0000 1000'), 'incomplete')
  assert.equal(withLength('0000 0000 1001'), 'bad', 'a password of 4097 bytes')
  assert.equal(withLength('0000 0000 1000'), 'incomplete')
  assert.equal(withLength('0000 0000 0000 ffff'), 'bad', 'peer info of 65535 bytes')
  assert.equal(withLength('0000 0000 0000 1001'), 'bad', 'peer info of 4097 bytes')
  assert.equal(withLength('0000 0000 0000 1000'), 'incomplete')
})

test('a string ends at its first NUL, or with its bytes', () => {
  const before = encodeClientKeyMethod(CLIENT).subarray(0, 117)
  const bytes = Buffer.concat([before, hex('0005 4142004300 0003 414243 0001 00 0001 41')])
  const decoded = decodeClientKeyMethod(bytes)
  assert.ok(typeof decoded === 'object')
  const { options, username, password, peerInfo } = decoded.value
  assert.deepEqual([options, username, password, peerInfo], ['AB', 'ABC', '', 'A'])
  assert.equal(decoded.used, bytes.length)
})
