import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  chooseCipher,
  formatPeerInfo,
  IV_PROTO,
  isDataCipher,
  optionOf,
  parsePeerInfo,
} from '../../../node/vpn/peer-info.ts'

// What stock openvpn 2.6.14 says of itself.
const STOCK = `IV_VER=2.6.14
IV_PLAT=linux
IV_TCPNL=1
IV_MTU=1600
IV_NCP=2
IV_CIPHERS=AES-256-GCM:AES-128-GCM:CHACHA20-POLY1305
IV_PROTO=990
IV_LZO_STUB=1
IV_COMP_STUB=1
IV_COMP_STUBv2=1
`

test('a stock client is understood', () => {
  const info = parsePeerInfo(STOCK)
  const { raw, ...rest } = info
  assert.deepEqual(rest, {
    proto: 990,
    ciphers: ['AES-256-GCM', 'AES-128-GCM', 'CHACHA20-POLY1305'],
    mtu: 1600,
    version: '2.6.14',
    platform: 'linux',
    takesRemotes: false,
  })
  assert.equal(parsePeerInfo(`${STOCK}UV_OVERMESH=1\n`).takesRemotes, true)
  assert.equal(raw.get('IV_TCPNL'), '1')
  const has = Object.entries(IV_PROTO).flatMap(([name, bit]) => (info.proto & bit ? [name] : []))
  assert.deepEqual(has, [
    'dataV2',
    'requestPush',
    'tlsKeyExport',
    'authPendingKeywords',
    'dnsOption',
    'ccExitNotify',
    'authFailedTemp',
    'dynamicTlsCrypt',
  ])
})

// OpenVPN's src/openvpn/ssl.h, IV_PROTO_*.
test('each bit of IV_PROTO stands where stock peers have it', () => {
  assert.deepEqual(
    { ...IV_PROTO },
    {
      dataV2: 0x2,
      requestPush: 0x4,
      tlsKeyExport: 0x8,
      authPendingKeywords: 0x10,
      ncpP2p: 0x20,
      dnsOption: 0x40,
      ccExitNotify: 0x80,
      authFailedTemp: 0x100,
      dynamicTlsCrypt: 0x200,
      dataEpoch: 0x400,
      dnsOptionV2: 0x800,
      pushUpdate: 0x1000,
    },
  )
})

// OpenVPN's tests/unit_tests/openvpn/test_ncp.c, test_extract_client_ciphers.
test('the ciphers of a client are those published', () => {
  const ciphers = (text: string): string[] => parsePeerInfo(text).ciphers
  assert.deepEqual(ciphers('foo=bar\nIV_foo=y\nIV_NCP=2'), ['AES-256-GCM', 'AES-128-GCM'])
  assert.deepEqual(ciphers('foo=bar\nIV_foo=y\nIV_NCP=2\nIV_CIPHERS=BF-CBC'), ['BF-CBC'])
  assert.deepEqual(ciphers('IV_NCP=2\nIV_CIPHERS=BF-CBC:FOO-BAR\nIV_BAR=7'), ['BF-CBC', 'FOO-BAR'])
  assert.deepEqual(ciphers('IV_CIPHERS=BF-CBC:FOO-BAR\nIV_BAR=7'), ['BF-CBC', 'FOO-BAR'])
  assert.deepEqual(ciphers('IV_YOLO=NO\nIV_BAR=7'), [])
  assert.deepEqual(ciphers(''), [])
})

// test_ncp.c, test_poor_man and test_ncp_best: server's list, client's peer info, `cipher` of its options, choice.
test('the cipher chosen is the one published', () => {
  const short = 'CHACHA20_POLY1305:AES-128-GCM'
  const long = 'CHACHA20_POLY1305:AES-128-GCM:AES-256-GCM'
  const old = 'CHACHA20_POLY1305:AES-128-GCM:BF-CBC:none'
  const cases: [string, string, string | undefined, string | undefined][] = [
    [short, 'IV_YOLO=NO\nIV_BAR=7', 'BF-CBC', undefined],
    [old, 'IV_YOLO=NO\nIV_BAR=7', 'BF-CBC', 'BF-CBC'],
    [short, 'IV_NCP=1\nIV_BAR=7', 'AES-128-GCM', 'AES-128-GCM'],
    [short, '', 'AES-128-GCM', 'AES-128-GCM'],
    [short, '', 'none', undefined],
    [old, '', 'none', 'none'],
    [short, '', undefined, undefined],
    [long, 'IV_YOLO=NO\nIV_NCP=2\nIV_BAR=7', 'BF-CBC', 'AES-128-GCM'],
    [long, 'IV_NCP=2\nIV_BAR=7', 'CHACHA20_POLY1305', 'CHACHA20_POLY1305'],
    [long, 'IV_CIPHERS=AES-128-GCM', 'AES-256-CBC', 'AES-128-GCM'],
    [long, 'IV_FOO=7\nIV_CIPHERS=AES-256-GCM\nIV_NCP=2', 'AES-256-CBC', 'AES-256-GCM'],
  ]
  for (const [server, info, options, expected] of cases) {
    assert.equal(
      chooseCipher(server.split(':'), parsePeerInfo(info), options),
      expected,
      `${server} | ${info} | ${options}`,
    )
  }
})

test('malformed lines are passed over, and values hold printable text only', () => {
  const info = parsePeerInfo(
    'IV_VER=2.6\x1b[31m\x07\r\n=x\nNOTHING\niv_low=1\nA=1\nIV_PROTO=99x\nIV_MTU=-1\n__proto__=1\nIV_EQ=a=b',
  )
  assert.equal(info.version, '2.6[31m')
  assert.equal(info.proto, 0)
  assert.equal(info.mtu, undefined)
  assert.deepEqual([...info.raw.keys()], ['IV_VER', 'A', 'IV_PROTO', 'IV_MTU', 'IV_EQ'])
  assert.equal(info.raw.get('IV_EQ'), 'a=b')
})

test('what is kept of a peer is bounded', () => {
  const lines = Array.from({ length: 5000 }, (_, i) => `UV_${i}=${'x'.repeat(1000)}`)
  const info = parsePeerInfo(lines.join('\n'))
  assert.equal(info.raw.size, 64)
  for (const value of info.raw.values()) assert.equal(value.length, 256)
  assert.equal(parsePeerInfo(`IV_${'A'.repeat(100)}=1`).raw.size, 0)
})

test('peer info is written as it is read', () => {
  const raw = new Map([
    ['IV_VER', '2.6.14'],
    ['IV_PROTO', '990'],
  ])
  assert.equal(formatPeerInfo(raw), 'IV_VER=2.6.14\nIV_PROTO=990\n')
  assert.deepEqual(parsePeerInfo(formatPeerInfo(raw)).raw, raw)
})

test('one option of an options string is found', () => {
  const options = 'V4,dev-type tun,cipher AES-256-GCM,comp-lzo,ciphers none'
  assert.equal(optionOf(options, 'cipher'), 'AES-256-GCM')
  assert.equal(optionOf(options, 'comp-lzo'), '')
  assert.equal(optionOf(options, 'auth'), undefined)
  assert.equal(optionOf('', 'cipher'), undefined)
})

test('only the AEAD ciphers are data ciphers', () => {
  assert.ok(isDataCipher('CHACHA20-POLY1305'))
  assert.ok(!isDataCipher('BF-CBC'))
  assert.ok(!isDataCipher('toString'))
})
