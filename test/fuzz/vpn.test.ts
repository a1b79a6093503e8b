// What the VPN reads from strangers' datagrams, from clients inside TLS, and from key files.
import assert from 'node:assert/strict'
import {
  ControlTextSplitter,
  encodeControlMessage,
  MAX_CONTROL_MESSAGE,
  PushReplyCollector,
  parseControlMessage,
  pushReply,
} from '../../node/vpn/control-message.ts'
import { mayOpenSession, SessionCookie } from '../../node/vpn/cookie.ts'
import { splitKeyBlock } from '../../node/vpn/data-keys.ts'
import { type DataFormat, DataOpener, DataSealer } from '../../node/vpn/data-packet.ts'
import { isOccExit, isPing, OCC_MAGIC, PING } from '../../node/vpn/in-tunnel.ts'
import {
  type ClientKeyMethod,
  decodeClientKeyMethod,
  decodeServerKeyMethod,
  encodeClientKeyMethod,
  encodeServerKeyMethod,
} from '../../node/vpn/key-method.ts'
import {
  type ControlBody,
  decodeControlBody,
  decodePlain,
  encodeControlBody,
  encodeHeader,
  encodePlain,
  MAX_ACKS,
  OPCODE,
} from '../../node/vpn/packet.ts'
import { WrapPacketIdSender, WrapPacketIdWindow } from '../../node/vpn/packet-id.ts'
import { chooseCipher, optionOf, parsePeerInfo } from '../../node/vpn/peer-info.ts'
import { RECEIVE_WINDOW, ReliableReceiver, ReliableSender, SEND_WINDOW } from '../../node/vpn/reliable.ts'
import {
  formatStaticKey,
  formatTlsCryptV2ClientKey,
  formatTlsCryptV2ServerKey,
  parseStaticKey,
  parseTlsCryptV2ClientKey,
  parseTlsCryptV2ServerKey,
} from '../../node/vpn/static-key.ts'
import { TlsCrypt } from '../../node/vpn/tls-crypt.ts'
import { generateClientKey, splitWkc, TlsCryptV2Server } from '../../node/vpn/tls-crypt-v2.ts'
import {
  CLIENT_KEY,
  CLIENT_KEY_USER_METADATA,
  counting,
  SERVER_KEY,
  STATIC_KEY,
} from '../unit/vpn/published-keys.ts'
import { fuzz, MAX_INPUT, Random } from './mutate.ts'

const bytesOf = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'latin1'))
const textOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1')
const hexOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')
/** Plain arrays: `slice` of a Buffer would be a view, and mutations would reach the corpus. */
const copy = (bytes: Uint8Array): Uint8Array => new Uint8Array(bytes)

// One packet of every kind, as the first minute of a session has them.
const SID = counting(8)
const PEER_SID = Uint8Array.from({ length: 8 }, (_, i) => 0xf0 + i)
const random = new Random(1)
const controls: [opcode: number, body: ControlBody][] = [
  [OPCODE.hardResetClientV2, { acks: [], messageId: 0, payload: new Uint8Array(0) }],
  [OPCODE.hardResetClientV3, { acks: [], messageId: 0, payload: new Uint8Array(0) }],
  [OPCODE.hardResetServerV2, { acks: [0], remoteSid: PEER_SID, messageId: 0, payload: counting(6) }],
  [OPCODE.ackV1, { acks: [0], remoteSid: PEER_SID, payload: new Uint8Array(0) }],
  [OPCODE.ackV1, { acks: [9, 8, 7, 6, 5, 4, 3, 2], remoteSid: PEER_SID, payload: new Uint8Array(0) }],
  [OPCODE.controlWkcV1, { acks: [0], remoteSid: PEER_SID, messageId: 1, payload: counting(300) }],
  [OPCODE.controlV1, { acks: [], messageId: 2, payload: counting(1100) }],
  [OPCODE.controlV1, { acks: [3, 2, 1, 0], remoteSid: PEER_SID, messageId: 4, payload: counting(30) }],
  [OPCODE.softResetV1, { acks: [], messageId: 0, payload: new Uint8Array(0) }],
]
const bodies = controls.map(([opcode, body]) => encodeControlBody(opcode, body))
const STATIC = parseStaticKey(STATIC_KEY)!
const SERVER = new TlsCryptV2Server(parseTlsCryptV2ServerKey(SERVER_KEY)!)
const CLIENT = generateClientKey(SERVER, counting(40), length => random.bytes(length))

/** All packets of `controls` as one client wraps them. */
function wrapped(wrap: (header: Uint8Array, id: Uint8Array, body: Uint8Array) => Uint8Array): Uint8Array[] {
  const ids = new WrapPacketIdSender(1_700_000_000)
  return controls.map(([opcode], i) => copy(wrap(encodeHeader(opcode, i % 8, SID), ids.next(), bodies[i])))
}

const plain = controls.map(([opcode, body]) => encodePlain({ opcode, keyId: 0, sid: SID, body }))
const cookies = new SessionCookie(counting(32), 60)

fuzz({
  name: 'control packets without wrapping',
  corpus: plain,
  check: input => {
    const packet = decodePlain(input)
    if (!packet) return
    const { opcode, keyId, sid, body } = packet
    assert.ok(body.acks.length <= MAX_ACKS)
    assert.equal(body.remoteSid !== undefined, body.acks.length > 0)
    // What follows the acknowledgements of an ACK_V1 means nothing; all else comes back as it was.
    const written = encodePlain(packet)
    assert.deepEqual(written, opcode === OPCODE.ackV1 ? input.subarray(0, written.length) : input)
    if (mayOpenSession(opcode, keyId, body))
      assert.ok(!cookies.check(1e12, '192.0.2.1:1', sid, body.remoteSid!))
  },
})

// A packet that was changed in any way must not pass: only what is byte for byte of the corpus may.
const cryptPackets = wrapped((...parts) => new TlsCrypt(STATIC, 'client').wrap(...parts))
const cryptServer = new TlsCrypt(STATIC, 'server')
const cryptSound = new Set(cryptPackets.map(hexOf))
fuzz({
  name: 'tls-crypt',
  corpus: cryptPackets,
  check: input => {
    const packet = cryptServer.unwrap(input)
    assert.equal(packet !== undefined, cryptSound.has(hexOf(input)))
    if (packet) assert.ok(decodeControlBody(packet.opcode, packet.plaintext))
  },
})

const firstPackets = wrapped((...parts) =>
  Buffer.concat([new TlsCrypt(CLIENT.kc, 'client').wrap(...parts), CLIENT.wkc]),
)
firstPackets.push(
  copy(Buffer.concat([cryptPackets[1], parseTlsCryptV2ClientKey(CLIENT_KEY)!.wkc])),
  copy(Buffer.concat([cryptPackets[1], parseTlsCryptV2ClientKey(CLIENT_KEY_USER_METADATA)!.wkc])),
)
const soundKeys = new Set(
  [CLIENT, parseTlsCryptV2ClientKey(CLIENT_KEY)!, parseTlsCryptV2ClientKey(CLIENT_KEY_USER_METADATA)!].map(
    ({ wkc }) => hexOf(wkc),
  ),
)
fuzz({
  name: 'first packets with a wrapped client key',
  corpus: firstPackets,
  check: input => {
    const split = splitWkc(input)
    if (!split) return
    assert.equal(split.packet.length + split.wkc.length, input.length)
    const client = SERVER.unwrapClientKey(split.wkc)
    assert.equal(client !== undefined, soundKeys.has(hexOf(split.wkc)))
    if (!client) return
    const packet = new TlsCrypt(client.kc, 'server').unwrap(split.packet)
    if (packet) decodeControlBody(packet.opcode, packet.plaintext)
  },
})

// A client that has the key and means harm: whatever it puts inside arrives as it sent it, and its packet ids and
// message ids are its own.
const hostileSender = new TlsCrypt(CLIENT.kc, 'client')
const hostileReceiver = new TlsCrypt(CLIENT.kc, 'server')
fuzz({
  name: 'bodies of authenticated control packets',
  corpus: bodies,
  check: input => {
    const id = new Uint8Array(8)
    id.set(input.subarray(-8))
    const opcode = [3, 4, 5, 7, 8, 10, 11][input.length % 7]
    const packet = hostileReceiver.unwrap(hostileSender.wrap(encodeHeader(opcode, 1, SID), id, input))
    // A packet without a single byte inside is too short to be one.
    assert.equal(packet !== undefined, input.length > 0)
    if (!packet) return
    assert.deepEqual(copy(packet.plaintext), input)
    const body = decodeControlBody(packet.opcode, packet.plaintext)
    const window = new WrapPacketIdWindow()
    assert.equal(window.accept(packet.counter, packet.time), packet.counter > 0)
    assert.equal(window.accept(packet.counter, packet.time), false)
    if (body) assert.ok(body.payload.length < packet.plaintext.length)
  },
})

// The input is a script: message ids, acknowledgements and times, as a peer could make them.
fuzz({
  name: 'reliability under scripted packets',
  corpus: [counting(60), Uint8Array.from({ length: 200 }, (_, i) => (i * 7) & 0x1f), new Uint8Array(64)],
  check: input => {
    const sender = new ReliableSender()
    const receiver = new ReliableReceiver()
    let now = 0
    let delivered = 0
    let sent = 0
    for (const byte of input.subarray(0, 400)) {
      const value = byte & 0x3f
      switch (byte >> 6) {
        case 0:
          // Now and then an id from the far end of the numbers.
          delivered += receiver.receive(value < 60 ? value : 0xffffffff - value, Uint8Array.of(value)).length
          break
        case 1:
          sender.acknowledge(value)
          break
        case 2:
          sender.push(OPCODE.controlV1, new Uint8Array(value))
          break
        default:
          now += value * 200
      }
      for (const message of sender.take(now)) sent = Math.max(sent, message.messageId + 1)
      assert.ok(sender.deadline(now) > now)
    }
    assert.ok(delivered <= 60 && sent <= input.length)
    assert.ok(sender.queuedBytes <= 65_536)
    for (let packets = 0; receiver.owesAcks; packets++) {
      assert.ok(receiver.takeAcks(MAX_ACKS).length <= MAX_ACKS)
      assert.ok(packets < RECEIVE_WINDOW * SEND_WINDOW)
    }
  },
})

const STOCK_INFO =
  'IV_VER=2.6.14\nIV_PLAT=linux\nIV_TCPNL=1\nIV_MTU=1600\nIV_NCP=2\nIV_CIPHERS=AES-256-GCM:CHACHA20-POLY1305\nIV_PROTO=990\nUV_A=b\n'
const clientMessage: ClientKeyMethod = {
  preMaster: counting(48),
  random1: counting(32),
  random2: counting(32),
  options: 'V4,dev-type tun,link-mtu 1541,cipher AES-256-GCM,comp-lzo,key-method 2,tls-client',
  username: 'someone',
  password: 'secret',
  peerInfo: STOCK_INFO,
}
fuzz({
  name: 'key method 2 of a client',
  corpus: [
    copy(encodeClientKeyMethod(clientMessage)),
    copy(encodeClientKeyMethod({ ...clientMessage, options: '', username: '', password: '', peerInfo: '' })),
    copy(Buffer.concat([encodeClientKeyMethod(clientMessage), encodeControlMessage('PUSH_REQUEST')])),
  ],
  check: input => {
    const decoded = decodeClientKeyMethod(input)
    if (decoded === 'incomplete' || decoded === 'bad') return
    const { value, used } = decoded
    assert.ok(used <= input.length)
    assert.ok(value.options.length < 512 && value.peerInfo.length < 4096)
    assert.deepEqual(decodeClientKeyMethod(copy(encodeClientKeyMethod(value))), {
      value,
      used: encodeClientKeyMethod(value).length,
    })
    chooseCipher(['AES-256-GCM'], parsePeerInfo(value.peerInfo), optionOf(value.options, 'cipher'))
  },
})

const serverMessage = encodeServerKeyMethod({ ...clientMessage, options: 'V4,dev-type tun,tls-server' })
fuzz({
  name: 'key method 2 of a server',
  corpus: [
    copy(serverMessage),
    copy(Buffer.concat([serverMessage, encodeControlMessage('PUSH_REPLY,ping 1')])),
  ],
  check: input => {
    const decoded = decodeServerKeyMethod(input)
    if (typeof decoded === 'string') return
    assert.ok(decoded.used <= input.length)
    const again = decodeServerKeyMethod(copy(encodeServerKeyMethod(decoded.value)))
    assert.deepEqual(typeof again === 'object' && again.value, decoded.value)
  },
})

fuzz({
  name: 'peer info',
  corpus: [bytesOf(STOCK_INFO), bytesOf('IV_NCP=2\n'), bytesOf('UV_X=\n'.repeat(100))],
  check: input => {
    const info = parsePeerInfo(textOf(input))
    assert.ok(info.raw.size <= 64 && info.ciphers.length <= 256)
    assert.ok(Number.isSafeInteger(info.proto) && info.proto >= 0)
    for (const [key, value] of info.raw) {
      assert.match(key, /^[A-Z][A-Z0-9_]{0,31}$/)
      assert.match(value, /^[\x20-\x7e]{0,256}$/)
    }
  },
})

const messages = [
  ...pushReply(Array.from({ length: 80 }, (_, i) => `route 10.${i}.0.0 255.255.0.0`)),
  'PUSH_REQUEST',
  'PUSH_REPLY,route-gateway 10.77.0.1,topology subnet,ping 1,peer-id 0,cipher AES-256-GCM',
  'RESTART,[N]upgrade',
  'AUTH_FAILED,TEMP[backoff 5,advance no]:full',
  'AUTH_FAILED,revoked',
  'HALT',
  'EXIT',
  'INFO_PRE,WEB_AUTH::https://example.com',
]
fuzz({
  name: 'control messages',
  corpus: [...messages.map(bytesOf), copy(Buffer.concat(messages.map(encodeControlMessage)))],
  check: input => {
    // TLS may cut the stream anywhere.
    const splitter = new ControlTextSplitter()
    const collector = new PushReplyCollector()
    const cut = input.length > 0 ? input[0] * 16 : 0
    for (const part of [input.subarray(0, cut), input.subarray(cut)]) {
      const texts = splitter.push(part)
      if (texts === 'bad') return
      for (const text of texts) {
        assert.ok(text.length > 0 && text.length < MAX_CONTROL_MESSAGE && !text.includes('\0'))
        const message = parseControlMessage(text)
        if (message?.type !== 'push-reply') continue
        const options = collector.add(message)
        if (Array.isArray(options)) assert.ok(options.join(',').length <= MAX_INPUT)
      }
    }
  },
})

const KEYS = splitKeyBlock(STATIC, 'client')
for (const format of ['aead', 'epoch'] satisfies DataFormat[]) {
  const sealer = new DataSealer('AES-256-GCM', format, KEYS.send, 0, 7)
  const payloads = [PING, Buffer.concat([OCC_MAGIC, Uint8Array.of(6)]), new Uint8Array(0), counting(1400)]
  const packets = payloads.map((payload, i) => {
    sealer.advanceTo(i + 1)
    return copy(sealer.seal(payload))
  })
  const sound = new Set(packets.map(hexOf))
  const opener = new DataOpener('AES-256-GCM', format, KEYS.send)
  fuzz({
    name: `data packets, ${format}`,
    corpus: packets,
    check: input => {
      const payload = opener.open(input)
      if (!payload) return
      assert.ok(sound.delete(hexOf(input)), 'only what was sealed, and once')
      assert.equal(isPing(payload) || isOccExit(payload), payload.length === 16 || payload.length === 17)
    },
  })
}

fuzz({
  name: 'key files',
  corpus: [STATIC_KEY, SERVER_KEY, CLIENT_KEY, CLIENT_KEY_USER_METADATA, `${SERVER_KEY}${CLIENT_KEY}`].map(
    bytesOf,
  ),
  check: input => {
    const text = textOf(input)
    const fixed = parseStaticKey(text)
    if (fixed) assert.deepEqual(parseStaticKey(formatStaticKey(fixed)), fixed)
    const server = parseTlsCryptV2ServerKey(text)
    if (server) assert.deepEqual(parseTlsCryptV2ServerKey(formatTlsCryptV2ServerKey(server)), server)
    const client = parseTlsCryptV2ClientKey(text)
    if (!client) return
    assert.deepEqual(parseTlsCryptV2ClientKey(formatTlsCryptV2ClientKey(client)), client)
    SERVER.unwrapClientKey(client.wkc)
  },
})
