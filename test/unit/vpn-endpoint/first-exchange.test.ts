// The first three packets of a session: who gets an answer, and what makes a session of the packet that follows it.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ControlWrap } from '../../../node/vpn/control-wrap.ts'
import { FirstExchange, type FirstExchangeInit } from '../../../node/vpn/first-exchange.ts'
import { type ControlBody, OPCODE } from '../../../node/vpn/packet.ts'
import { EARLY_NEGOTIATION_START } from '../../../node/vpn/packet-id.ts'
import { TlsCrypt } from '../../../node/vpn/tls-crypt.ts'
import { generateClientKey, TlsCryptV2Server } from '../../../node/vpn/tls-crypt-v2.ts'
import { wrapKeys } from '../../../node/vpn/wrap-keys.ts'
import { counting } from '../vpn/published-keys.ts'

const SERVER_KEY = counting(128)
const SID = counting(8)
const NOTHING = new Uint8Array(0)
const PATH = { socket: 0, remote: '192.0.2.1', port: 1194, local: '', ifindex: 0 }
const RESET: ControlBody = { acks: [], messageId: 0, payload: NOTHING }

function exchange(init: Partial<FirstExchangeInit> = {}) {
  const state = { now: 1_000_000, counted: [] as string[] }
  const made = new FirstExchange({
    serverKey: SERVER_KEY,
    wrapKeys,
    handshakeMs: 60_000,
    resetsPerSecond: 100,
    isKnown: () => false,
    now: () => state.now,
    random: counting,
    count: counter => state.counted.push(counter),
    ...init,
  })
  /** What was counted since. */
  const counted = (): string[] => state.counted.splice(0)
  return { made, state, counted }
}

/** A client with a key that the server has wrapped. @param first counter of its first packet */
function client(first = EARLY_NEGOTIATION_START + 1, metadata = NOTHING) {
  const { kc, wkc } = generateClientKey(new TlsCryptV2Server(SERVER_KEY), metadata, counting)
  const wrap = new ControlWrap(new TlsCrypt(kc, 'client'), 1_000_000, first)
  const packet = (opcode: number, body: ControlBody, keyId = 0): Uint8Array =>
    wrap.wrap(opcode, keyId, SID, body)
  const withKey = (opcode: number, body: ControlBody, keyId = 0): Uint8Array =>
    Buffer.concat([packet(opcode, body, keyId), wkc])
  const reset = (body = RESET, keyId = 0): Uint8Array => withKey(OPCODE.hardResetClientV3, body, keyId)
  /** The server's answer: its session id and its words. */
  const read = (answer: Uint8Array | undefined) => {
    assert.ok(answer)
    const unwrapped = wrap.unwrap(answer)
    assert.ok(unwrapped && unwrapped !== 'replay')
    const { opcode, keyId, sid, body } = unwrapped
    assert.deepEqual([opcode, keyId, body.acks, body.messageId], [OPCODE.hardResetServerV2, 0, [0], 0])
    assert.deepEqual(Uint8Array.from(body.remoteSid!), SID)
    return { sid, payload: Buffer.from(body.payload).toString('hex') }
  }
  /** Packet id of a packet of the server. */
  const idOf = (packet: Uint8Array | undefined): number[] => {
    const { counter, time } = new TlsCrypt(kc, 'client').unwrap(packet!)!
    return [counter, time]
  }
  return { wrap, packet, withKey, reset, read, idOf }
}

const hello = (remoteSid: Uint8Array): ControlBody => ({ acks: [0], remoteSid, messageId: 1, payload: SID })

test('a client that can send its key again is asked to, and its third packet is all that makes a session', () => {
  const { made, counted } = exchange()
  const { reset, read, packet, withKey } = client()
  const { sid, payload } = read(made.answer(PATH, reset()))
  assert.equal(payload, '000100020001')
  assert.deepEqual(counted(), ['resets'])
  // Nothing is remembered of it.
  assert.equal(made.open(PATH, packet(OPCODE.controlV1, hello(sid))), undefined)
  assert.deepEqual(counted(), ['controlUnexpected'])
  const newcomer = made.open(PATH, withKey(OPCODE.controlWkcV1, hello(sid)))
  assert.deepEqual(newcomer?.clientSid, SID)
  assert.deepEqual(newcomer?.serverSid, sid)
  assert.deepEqual(Uint8Array.from(newcomer?.clientKey ?? []), counting(256))
  assert.deepEqual(Uint8Array.from(newcomer?.packet.body.payload ?? []), SID)
  assert.deepEqual(counted(), [])
})

test('who begins so far up can send its key again, however often it has begun', () => {
  const { made } = exchange()
  const { reset, read } = client(EARLY_NEGOTIATION_START + 0xfffffe)
  assert.equal(read(made.answer(PATH, reset())).payload, '000100020001')
})

test('the session goes on behind the packet ids of the first three packets, of either end', () => {
  const { made, state } = exchange()
  const { wrap, reset, read, packet, idOf } = client(1)
  const answer = made.answer(PATH, reset())
  assert.deepEqual(idOf(answer), [1, 1000])
  const { sid } = read(answer)
  // An acknowledgement alone is a third packet, too.
  const third = packet(OPCODE.ackV1, { acks: [0], remoteSid: sid, payload: NOTHING })
  state.now += 700
  const newcomer = made.open(PATH, third)
  assert.equal(newcomer?.wrap.unwrap(third), 'replay')
  const next = newcomer?.wrap.wrap(OPCODE.controlV1, 0, sid, { acks: [], messageId: 1, payload: SID })
  assert.deepEqual(idOf(next), [2, 1000])
  const read4 = wrap.unwrap(next!)
  assert.ok(read4 && read4 !== 'replay')
})

test('a cookie is good with the controller alone that made it', () => {
  const sizes: number[] = []
  const random = (first: number) => (size: number) => {
    sizes.push(size)
    return counting(size).map(byte => byte ^ first)
  }
  const [one, other] = [1, 2].map(first => exchange({ random: random(first) }).made)
  assert.deepEqual(sizes, [32, 32])
  const { reset, read, withKey } = client()
  const third = withKey(OPCODE.controlWkcV1, hello(read(one.answer(PATH, reset())).sid))
  assert.equal(other.open(PATH, third), undefined)
  assert.ok(one.open(PATH, third))
})

test("an older client's key is remembered for as long as its cookie is good at the least", () => {
  const { made, state, counted } = exchange()
  const { reset, read, packet } = client(1)
  const { sid, payload } = read(made.answer(PATH, reset()))
  assert.equal(payload, '')
  const third = packet(OPCODE.controlV1, hello(sid))
  assert.equal(made.open({ ...PATH, port: 1195 }, third), undefined)
  assert.deepEqual(counted(), ['resets', 'controlUnexpected'])
  const other = Uint8Array.from(third)
  other[8] ^= 1
  assert.equal(made.open(PATH, other), undefined)
  assert.deepEqual(counted(), ['controlUnexpected'])
  state.now += 59_000
  assert.deepEqual(made.open(PATH, third)?.serverSid, sid)
  state.now += 60_000
  assert.equal(made.open(PATH, third), undefined)
  assert.deepEqual(counted(), ['controlUnexpected'])
})

test('what is no first packet gets no answer', () => {
  const { made, counted } = exchange({ acceptClientKey: metadata => metadata[1] !== 0xbb })
  const { reset, withKey } = client()
  const refused = client(1, Uint8Array.of(0xbb))
  const damaged = Uint8Array.from(reset())
  damaged[20] ^= 1
  const other = Uint8Array.from(reset())
  other[other.length - 10] ^= 1
  for (const [packet, counter] of [
    [reset({ ...RESET, messageId: 1 }), 'controlForged'],
    [reset(RESET, 1), 'controlForged'],
    [withKey(OPCODE.ackV1, { acks: [0], remoteSid: SID, payload: NOTHING }), 'controlForged'],
    [damaged, 'controlForged'],
    [other, 'clientKeyForged'],
    [reset().subarray(0, 60), 'clientKeyForged'],
    [refused.reset(), 'clientKeyRefused'],
  ] as const) {
    assert.equal(made.answer(PATH, packet), undefined)
    assert.deepEqual(counted(), [counter])
  }
})

test('a reset that was seen in a session that lives gets no answer', () => {
  const { made, counted } = exchange({ isKnown: sid => Buffer.from(sid).equals(SID) })
  const { reset, packet } = client()
  assert.equal(made.answer(PATH, reset()), undefined)
  assert.equal(made.open(PATH, packet(OPCODE.controlV1, hello(SID))), undefined)
  assert.deepEqual(counted(), ['resetsReplayed', 'controlForged'])
})

test('a third packet without the right cookie, or that comes too early or too late, makes no session', () => {
  const { made, state, counted } = exchange()
  const { reset, read, withKey } = client()
  const { sid } = read(made.answer(PATH, reset()))
  counted()
  const third = (body: ControlBody, keyId = 0): Uint8Array => withKey(OPCODE.controlWkcV1, body, keyId)
  const sound = third(hello(sid))
  const damaged = Uint8Array.from(sound)
  damaged[20] ^= 1
  for (const [packet, counter] of [
    [third(hello(sid.map(byte => byte ^ 0x80))), 'cookieInvalid'],
    [third({ acks: [], messageId: 1, payload: SID }), 'cookieInvalid'],
    [third({ ...hello(sid), messageId: 2 }), 'cookieInvalid'],
    [third({ ...hello(sid), acks: [0, 2] }), 'cookieInvalid'],
    [third(hello(sid), 1), 'cookieInvalid'],
    // Packet id 0 is none.
    [client(0).withKey(OPCODE.controlWkcV1, hello(sid)), 'controlForged'],
    [damaged, 'controlForged'],
    [sound.subarray(0, 60), 'clientKeyForged'],
  ] as const) {
    assert.equal(made.open(PATH, packet), undefined)
    assert.deepEqual(counted(), [counter])
  }
  assert.equal(made.open({ ...PATH, port: 1195 }, sound), undefined)
  assert.deepEqual(counted(), ['cookieInvalid'])
  assert.ok(made.open(PATH, sound))
  state.now += 90_001
  assert.equal(made.open(PATH, sound), undefined)
  assert.deepEqual(counted(), ['cookieInvalid'])
})

test('answers have a limit that forged resets do not use up, and so have looks at either packet', () => {
  const { made, state, counted } = exchange({ resetsPerSecond: 5 })
  const { reset, read, withKey } = client()
  const garbage = (opcode: number): Uint8Array => new Uint8Array(60).fill(opcode << 3, 0, 1)
  for (let i = 0; i < 1000; i++) made.answer(PATH, garbage(OPCODE.hardResetClientV3))
  counted()
  // A burst of twice as many as in a second.
  for (let i = 0; i < 12; i++) made.answer(PATH, reset())
  assert.deepEqual(counted(), [...new Array(10).fill('resets'), 'resetsLimited', 'resetsLimited'])
  state.now += 10_000
  const { sid } = read(made.answer(PATH, reset()))
  for (let i = 0; i < 39_999; i++) made.answer(PATH, garbage(OPCODE.hardResetClientV3))
  counted()
  assert.equal(made.answer(PATH, reset()), undefined)
  assert.deepEqual(counted(), ['resetsLimited'])
  const third = withKey(OPCODE.controlWkcV1, hello(sid))
  for (let i = 0; i < 39_999; i++) made.open(PATH, garbage(OPCODE.controlWkcV1))
  assert.ok(made.open(PATH, third))
  counted()
  assert.equal(made.open(PATH, third), undefined)
  assert.deepEqual(counted(), ['openingsLimited'])
  // What brings no key with it is looked up, which costs next to nothing.
  for (let i = 0; i < 10; i++) made.open(PATH, garbage(OPCODE.controlV1))
  assert.deepEqual(counted(), new Array(10).fill('controlUnexpected'))
})
