import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  authFailedMessage,
  type ControlMessage,
  ControlTextSplitter,
  encodeControlMessage,
  haltMessage,
  PushReplyCollector,
  parseControlMessage,
  pushReply,
  restartMessage,
} from '../../../node/vpn/control-message.ts'
import { isOccExit, isPing, OCC_MAGIC, PING } from '../../../node/vpn/in-tunnel.ts'

function collect(texts: string[]): string[] | 'bad' | undefined {
  const collector = new PushReplyCollector()
  const results = texts.map(text => {
    const message = parseControlMessage(text)
    assert.equal(message?.type, 'push-reply')
    return collector.add(message as ControlMessage & { type: 'push-reply' })
  })
  assert.ok(
    results.slice(0, -1).every(result => result === undefined),
    'nothing before the last part',
  )
  return results.at(-1)
}

test('a short PUSH_REPLY is one message', () => {
  const options = ['route-gateway 10.77.0.1', 'topology subnet', 'ping 1', 'peer-id 0']
  assert.deepEqual(pushReply(options), [
    'PUSH_REPLY,route-gateway 10.77.0.1,topology subnet,ping 1,peer-id 0',
  ])
  assert.deepEqual(collect(pushReply(options)), options)
})

test('a long PUSH_REPLY is split so that stock clients put it together', () => {
  const options = Array.from({ length: 200 }, (_, i) => `route 10.${i}.0.0 255.255.0.0`)
  const texts = pushReply(options)
  assert.ok(texts.length > 1)
  for (const [i, text] of texts.entries()) {
    assert.ok(encodeControlMessage(text).length <= 1024, 'a 2.4 client reads 1024 bytes')
    assert.match(text, /^PUSH_REPLY,/)
    assert.ok(text.endsWith(i === texts.length - 1 ? ',push-continuation 1' : ',push-continuation 2'))
  }
  assert.deepEqual(collect(texts), options)
})

test('each part is filled to 940 characters, with a comma for each option', () => {
  const partsOf = (...lengths: number[]): number =>
    pushReply(lengths.map(length => 'x'.repeat(length))).length
  const full = [255, 255, 255, 171]
  assert.equal(partsOf(...full), 1)
  assert.equal(partsOf(255, 255, 255, 172), 2)
  assert.equal(partsOf(...full, ...full), 2)
  assert.equal(partsOf(...full, 255, 255, 255, 172), 3)
})

test('options that stock clients would misread are a mistake of the caller', () => {
  for (const option of ['a,b', 'x\ny', 'ü', 'x\0', 'x'.repeat(256)]) {
    assert.throws(() => pushReply([option]), RangeError)
  }
  assert.deepEqual(collect(pushReply(['x'.repeat(255)])), ['x'.repeat(255)])
})

test('a PUSH_REPLY without an end is given up', () => {
  const collector = new PushReplyCollector()
  const part = { options: ['route 10.0.0.0'], more: true }
  for (let i = 0; i < 64; i++) assert.equal(collector.add(part), undefined)
  assert.equal(collector.add(part), 'bad')
})

test('a PUSH_REPLY that was put together is no part of the next', () => {
  const collector = new PushReplyCollector()
  for (let i = 0; i < 100; i++) {
    const [first, last] = [`route 10.${i}.0.0`, `ping ${i}`]
    assert.equal(collector.add({ options: [first], more: true }), undefined)
    assert.deepEqual(collector.add({ options: [last], more: false }), [first, last])
  }
})

test('each message is written as stock peers read it, and read back', () => {
  const cases: [string, string, ControlMessage][] = [
    ['RESTART,[N]', restartMessage('next'), { type: 'restart', target: 'next', reason: '' }],
    [
      'RESTART,[N]upgrade',
      restartMessage('next', 'upgrade'),
      { type: 'restart', target: 'next', reason: 'upgrade' },
    ],
    ['RESTART', restartMessage('same'), { type: 'restart', target: 'same', reason: '' }],
    ['RESTART,later', restartMessage('same', 'later'), { type: 'restart', target: 'same', reason: 'later' }],
    ['HALT', haltMessage(), { type: 'halt', reason: '' }],
    ['HALT,removed', haltMessage('removed'), { type: 'halt', reason: 'removed' }],
    ['AUTH_FAILED', authFailedMessage(), { type: 'auth-failed', reason: '' }],
    [
      'AUTH_FAILED,revoked, sorry',
      authFailedMessage('revoked, sorry'),
      { type: 'auth-failed', reason: 'revoked, sorry' },
    ],
    [
      'AUTH_FAILED,TEMP[backoff 5,advance remote]:full',
      authFailedMessage('full', { backoffSeconds: 5, advance: 'remote' }),
      { type: 'auth-failed', reason: 'full', temporary: { backoffSeconds: 5, advance: 'remote' } },
    ],
    ['AUTH_FAILED,TEMP[]:', authFailedMessage('', {}), { type: 'auth-failed', reason: '', temporary: {} }],
  ]
  for (const [text, written, message] of cases) {
    assert.equal(written, text)
    assert.deepEqual(parseControlMessage(text), message, text)
  }
})

test('messages of stock peers are read', () => {
  const cases: [string, ControlMessage][] = [
    ['PUSH_REQUEST', { type: 'push-request' }],
    ['EXIT', { type: 'exit' }],
    ['PUSH_REPLY', { type: 'push-reply', options: [], more: false }],
    ['PUSH_UPDATE', { type: 'push-update', options: [] }],
    ['PUSH_UPDATE,-route,ping 1', { type: 'push-update', options: ['-route', 'ping 1'] }],
    ['RESTART,[PN]', { type: 'restart', target: 'next', reason: '' }],
    ['RESTART,[P]', { type: 'restart', target: 'same', reason: '' }],
    ['AUTH_FAILED,TEMP', { type: 'auth-failed', reason: '', temporary: {} }],
    ['AUTH_FAILED,TEMP:wait', { type: 'auth-failed', reason: 'wait', temporary: {} }],
    ['AUTH_FAILED,TEMPLE', { type: 'auth-failed', reason: 'TEMPLE' }],
    ['AUTH_FAILED,TEMP[backoff x,colour red]', { type: 'auth-failed', reason: '', temporary: {} }],
    ['INFO,hello', { type: 'other', text: 'INFO,hello' }],
    ['EXIT\r\n', { type: 'exit' }],
  ]
  for (const [text, message] of cases) assert.deepEqual(parseControlMessage(text), message, text)
})

// CVE-2024-5594: unprintable bytes reached logs and plug-ins.
test('text that no peer sends is refused', () => {
  for (const text of ['', '\r\n', 'EXIT\x1b[2J', 'PUSH_REPLY,a\nb', 'caf\xe9', 'x'.repeat(2048)]) {
    assert.equal(parseControlMessage(text), undefined, JSON.stringify(text.slice(0, 20)))
  }
  assert.equal(parseControlMessage('x'.repeat(2047))?.type, 'other')
})

test('reasons go out as printable text of bounded length', () => {
  assert.equal(authFailedMessage('no\n\x00é'), 'AUTH_FAILED,no???')
  assert.equal(haltMessage('x'.repeat(10_000)), `HALT,${'x'.repeat(256)}`)
})

// OpenVPN's tests/unit_tests/openvpn/test_pkt.c, test_extract_control_message.
test('the published stream of control messages is cut and read', () => {
  const stream = Buffer.from('valid control message\r\n\0\0Invalid\r\none\0valid one again\0')
  const texts = new ControlTextSplitter().push(stream)
  assert.ok(texts !== 'bad')
  assert.deepEqual(texts.map(parseControlMessage), [
    { type: 'other', text: 'valid control message' },
    undefined,
    { type: 'other', text: 'valid one again' },
  ])
  assert.deepEqual(new ControlTextSplitter().push(Buffer.from('no NUL')), [])
})

test('messages are found wherever TLS cuts the stream', () => {
  const splitter = new ControlTextSplitter()
  const found: string[] = []
  for (const byte of Buffer.concat(['PUSH_REQUEST', 'EXIT'].map(encodeControlMessage))) {
    const texts = splitter.push(Uint8Array.of(byte))
    assert.ok(texts !== 'bad')
    found.push(...texts)
  }
  assert.deepEqual(found, ['PUSH_REQUEST', 'EXIT'])
})

test('a text without an end is bad before it grows', () => {
  const splitter = new ControlTextSplitter()
  assert.deepEqual(splitter.push(new Uint8Array(2047).fill(65)), [])
  assert.equal(splitter.push(Uint8Array.of(65)), 'bad')
  const closed = (length: number): Buffer =>
    Buffer.concat([new Uint8Array(length).fill(65), Uint8Array.of(0)])
  assert.equal(new ControlTextSplitter().push(closed(2048)), 'bad')
  assert.equal(new ControlTextSplitter().push(closed(2047)).length, 1)
  assert.deepEqual(new ControlTextSplitter().push(new Uint8Array(16_384)), [], 'NULs alone are no messages')
})

test('ping and exit are told from packets', () => {
  assert.equal(Buffer.from(PING).toString('hex'), '2a187bf3641eb4cb07ed2d0a981fc748')
  assert.ok(isPing(PING))
  assert.ok(!isPing(PING.subarray(1)))
  assert.ok(!isPing(Buffer.concat([PING, Uint8Array.of(0)])))
  assert.equal(Buffer.from(OCC_MAGIC).toString('hex'), '287f346bd4ef7a812d56b8d3afc5459c')
  assert.ok(isOccExit(Buffer.concat([OCC_MAGIC, Uint8Array.of(6)])))
  assert.ok(!isOccExit(Buffer.concat([OCC_MAGIC, Uint8Array.of(5)])))
  assert.ok(!isOccExit(OCC_MAGIC))
  const exit = Uint8Array.of(...OCC_MAGIC, 6)
  assert.ok(isOccExit(Uint8Array.of(...exit, 0)), 'what follows the type does not count')
  for (let at = 0; at < 16; at++) {
    const changed = (bytes: Uint8Array): Uint8Array => bytes.map((byte, i) => (i === at ? byte ^ 0x80 : byte))
    assert.ok(!isPing(changed(PING)), `byte ${at}`)
    assert.ok(!isOccExit(changed(exit)), `byte ${at}`)
  }
})
