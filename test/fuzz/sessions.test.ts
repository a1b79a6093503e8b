// What a client with a genuine key says to the server's sessions: its ciphertext damaged, or anything at all inside TLS, while
// another client lives beside it.
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import type tls from 'node:tls'
import fc from 'fast-check'
import { pushOptions } from '../../node/push.ts'
import type { Path } from '../../node/switch/path.ts'
import { TlsConnection } from '../../node/switch/sys/tls.ts'
import { DEFAULT_PROTO } from '../../node/vpn/client.ts'
import { ControlChannel } from '../../node/vpn/control-channel.ts'
import { ControlWrap } from '../../node/vpn/control-wrap.ts'
import { encodeClientKeyMethod } from '../../node/vpn/key-method.ts'
import { OPCODE, opcodeOf } from '../../node/vpn/packet.ts'
import { EARLY_NEGOTIATION_START } from '../../node/vpn/packet-id.ts'
import { IV_PROTO } from '../../node/vpn/peer-info.ts'
import { parseProfile } from '../../node/vpn/profile.ts'
import type { TlsChannel, TlsHandlers } from '../../node/vpn/tls.ts'
import { TlsCrypt } from '../../node/vpn/tls-crypt.ts'
import { counting } from '../unit/vpn/published-keys.ts'
import { SimulatedNetwork } from '../unit/vpn-endpoint/simulated-network.ts'
import { GATEWAY, SUBNET, World } from '../unit/vpn-endpoint/world.ts'
import { mutate, Random } from './mutate.ts'
import { fuzzScripts } from './scripts.ts'
import { type Damage, damage, damaged, TlsClient } from './tls-client.ts'

/** Until nothing is left of a session that is over, or of a key that was replaced. */
const LONG_MS = 15_000
/** The neighbour takes a new key each so many times that it is looked at. */
const RENEWAL = 10
const HANDSHAKE_MS = 5000
/** ms between negotiations. */
const INTERVAL_MS = 1100
/** Steps of the network without traffic after which nothing more is to be expected. */
const QUIET_STEPS = 4
/** More than a client may leave without acknowledgement. */
const MANY_UPDATES = 120
/** Packets for one stranger: what may wait for acknowledgements, and repetitions. */
const MAX_ANSWERS = 200

const world = new World()
const network = new SimulatedNetwork(world, {}, { settings: { handshakeMs: HANDSHAKE_MS } })
const { endpoint, plane, log } = network
const { counters } = endpoint
const profile = parseProfile(world.pack('stranger'))
const neighbour = network.client('neighbour', { proto: DEFAULT_PROTO | IV_PROTO.pushUpdate })
assert.ok(await network.run(10, () => neighbour.connection !== undefined))
const living = TlsConnection.living
assert.equal(living, 1)

/** A client that says what a script has. */
class Stranger {
  readonly path: Path
  /** Packets from the server. */
  answers = 0
  /** It takes no packet any more: nothing is acknowledged. */
  isDeaf = false
  readonly #sid = randomBytes(8)
  readonly #wrap: ControlWrap
  readonly #options: tls.ConnectionOptions
  readonly #carry: (flight: Uint8Array, before: number) => Uint8Array
  readonly #channels: ControlChannel[] = []
  #serverSid: Uint8Array | undefined
  #arrived: Uint8Array[] = []
  #sent = 0
  #flights = 0

  /** @param carry what becomes of a flight of ciphertext; how many there were before */
  constructor(
    port: number,
    options: tls.ConnectionOptions,
    carry: (flight: Uint8Array, before: number) => Uint8Array,
  ) {
    this.path = { socket: 0, remote: '192.0.2.2', port, local: '', ifindex: 0 }
    this.#options = { ca: profile.ca, cert: profile.cert, key: profile.key, ...options }
    this.#carry = carry
    const crypt = new TlsCrypt(profile.tlsCryptV2.kc, 'client')
    this.#wrap = new ControlWrap(crypt, network.now, EARLY_NEGOTIATION_START + 1)
    this.#open(0).sendReset(OPCODE.hardResetClientV3)
  }

  /** Asks for a key of its own accord, as another client does after an hour. */
  renegotiate(): void {
    const channel = this.#open(1)
    channel.sendReset(OPCODE.softResetV1)
    channel.startTls()
  }

  /** One message inside the newest TLS. */
  say(message: Uint8Array): void {
    this.#channels.at(-1)?.write(message)
  }

  arrive(packet: Uint8Array): void {
    this.answers++
    if (!this.isDeaf) this.#arrived.push(Uint8Array.from(packet))
  }

  /** Lets time pass until nothing happens any more. */
  async settle(): Promise<void> {
    for (let quiet = 0, before = -1; quiet < QUIET_STEPS; quiet++) {
      for (const packet of this.#arrived.splice(0)) this.#take(packet)
      for (const channel of this.#channels) channel.flush()
      await network.run(0.01)
      if (this.#sent + this.answers !== before) quiet = 0
      before = this.#sent + this.answers
    }
  }

  close(): void {
    for (const channel of this.#channels) channel.close()
  }

  #take(packet: Uint8Array): void {
    const unwrapped = this.#wrap.unwrap(packet)
    if (!unwrapped || unwrapped === 'replay') return
    const { opcode, keyId, sid, body } = unwrapped
    const channel = this.#channels[keyId]
    if (opcode !== OPCODE.hardResetServerV2) {
      channel?.receive(opcode, body)
    } else if (!this.#serverSid) {
      this.#serverSid = sid
      channel.remoteSid = sid
      channel.resendKey(profile.tlsCryptV2.wkc)
      channel.receive(opcode, body)
      channel.startTls()
    }
  }

  #open(keyId: number): ControlChannel {
    const channel = new ControlChannel({
      keyId,
      firstMessage: 0,
      wrap: this.#wrap,
      localSid: this.#sid,
      remoteSid: this.#serverSid,
      send: packet => {
        this.#sent++
        const isFirst = opcodeOf(packet[0]) === OPCODE.hardResetClientV3
        network.toServer(this.path, isFirst ? Buffer.concat([packet, profile.tlsCryptV2.wkc]) : packet)
      },
      now: () => network.now,
      tls: handlers => this.#tls(handlers),
      secure() {},
      data() {},
      closed() {},
    })
    this.#channels.push(channel)
    return channel
  }

  #tls({ output }: TlsHandlers): TlsChannel {
    const client = new TlsClient(this.#options, flight => output(this.#carry(flight, this.#flights++)))
    return {
      receive: bytes => client.receive(bytes),
      write: bytes => void client.socket.write(bytes),
      close: () => client.close(),
      exportKey: length => new Uint8Array(length),
      peer: undefined,
      certificateProblem: undefined,
      version: '',
    }
  }
}

let stranger: Stranger | undefined
const toNeighbour = plane.sendControl.bind(plane)
plane.sendControl = (path, packet) => {
  if (path.port === neighbour.path.port) toNeighbour(path, packet)
  else if (path.port === stranger?.path.port) stranger.arrive(packet)
}

// What the neighbour sends to the gateway comes back.
plane.local = packet => {
  const answer = Uint8Array.from(packet)
  answer.set(packet.subarray(16, 20), 12)
  answer.set(packet.subarray(12, 16), 16)
  return answer
}

const [session] = endpoint.sessions()
const pushed = pushOptions({ address: session.address, subnet: SUBNET, gateway: GATEWAY, routes: [] })
let asked = 0

/** The neighbour's packets and the server's words for it arrive, and now and then it takes a new key. */
async function neighbourLives(): Promise<void> {
  asked++
  const packet = new Uint8Array(60)
  const view = new DataView(packet.buffer)
  view.setUint32(12, session.address)
  view.setUint32(16, GATEWAY)
  view.setUint32(20, asked)
  neighbour.packets.length = 0
  assert.ok(neighbour.vpn.send(packet))
  const route = `route 10.${asked & 255}.0.0 255.255.0.0`
  session.update([...pushed, route])
  const { renegotiations } = neighbour.vpn
  const renews = asked % RENEWAL === 0
  if (renews) neighbour.vpn.renegotiate()
  await network.run(1, () => {
    const isRenewed = neighbour.vpn.renegotiations === renegotiations + (renews ? 1 : 0)
    return isRenewed && neighbour.packets.length > 0 && neighbour.connection!.options.includes(route)
  })
  assert.equal(neighbour.end, undefined)
  assert.deepEqual(
    neighbour.packets.map(bytes => Buffer.from(bytes).readUInt32BE(20)),
    [asked],
  )
  assert.ok(neighbour.connection?.options.includes(route))
  assert.equal(neighbour.vpn.renegotiations, renegotiations + (renews ? 1 : 0))
}

/** Tells the stranger of other routes so many times, if it is there and may be told. */
function tell(updates: number): void {
  const told = [...endpoint.sessions()].find(({ name }) => name === 'stranger')
  if (!told) return
  const optionsOf = (update: number): string[] => {
    const routes = Array.from({ length: 30 }, (_, i) => ({
      address: (10 << 24) + (update << 16) + (i << 8),
      length: 24,
    }))
    return pushOptions({ address: told.address, subnet: SUBNET, gateway: GATEWAY, routes })
  }
  const canUpdate = told.canUpdate(optionsOf(1))
  for (let i = 1; i <= updates; i++) told.update(optionsOf(i))
  if (canUpdate && updates === MANY_UPDATES) assert.notEqual(told.state, 'open', 'its queue has no end')
}

/** Time passes until nothing is left of whoever has gone. */
async function forget(): Promise<void> {
  // The neighbour's new key is acknowledged, then taken, and then the old one is closed.
  for (let times = 0; times < 3; times++) {
    network.now += LONG_MS
    await network.run(0.05)
  }
}

const proto = IV_PROTO.dataV2 | IV_PROTO.tlsKeyExport | IV_PROTO.pushUpdate
const keyMethod = (proto: number): Uint8Array =>
  Uint8Array.from(
    encodeClientKeyMethod({
      preMaster: counting(48),
      random1: counting(32),
      random2: counting(32),
      options: 'V4,dev-type tun,link-mtu 1541,cipher AES-256-GCM,key-method 2,tls-client',
      username: 'someone',
      password: 'secret',
      peerInfo: `IV_VER=2.6.14\nIV_PROTO=${proto}\nIV_CIPHERS=AES-256-GCM\n`,
    }),
  )

const TEXTS = [
  'PUSH_REQUEST',
  'EXIT',
  'INFO,a',
  'CR_RESPONSE,abc',
  'PUSH_REPLY,a,b',
  'AUTH_FAILED',
  'RESTART',
]
/** Lengths at which messages and records end. */
const LENGTHS = [1, 511, 2047, 2048, 2049, 4096, 16_384, 16_385, 40_000]

/** What is said inside TLS; texts are closed by NUL, or not, or come one character a record. */
type Word =
  | { bytes: Uint8Array }
  | { keyMethod: number }
  | { text: string; as: 'message' | 'beginning' | 'characters' }
  | { texts: string[] }
  | { fill: number; length: number }

const word: fc.Arbitrary<Word> = fc.oneof(
  fc.record({ bytes: fc.uint8Array({ maxLength: 100 }) }),
  fc.record({ keyMethod: fc.integer() }),
  fc.record({
    text: fc.oneof(fc.constantFrom(...TEXTS), fc.string({ unit: 'binary', maxLength: 100 })),
    as: fc.constantFrom('message', 'message', 'beginning', 'characters'),
  }),
  fc.record({ texts: fc.array(fc.constantFrom('', ...TEXTS), { maxLength: 20 }) }),
  fc.record({ fill: fc.constantFrom(0, 0x41, 0xff), length: fc.constantFrom(...LENGTHS) }),
)
const words = fc.array(word, { maxLength: 4 })

function messagesOf(word: Word): Uint8Array[] {
  if ('bytes' in word) return [word.bytes]
  if ('keyMethod' in word) return [mutate(new Random(word.keyMethod), [keyMethod(proto)])]
  if ('texts' in word) return [Buffer.from(word.texts.join('\0'))]
  if ('fill' in word) return [new Uint8Array(word.length).fill(word.fill)]
  const text = Buffer.from(`${word.text}\0`)
  if (word.as === 'message') return [text]
  return word.as === 'beginning' ? [text.subarray(0, -1)] : Array.from(text, byte => Uint8Array.of(byte))
}

interface Script {
  maxVersion: tls.SecureVersion
  /** Flights of ciphertext on their way, with their numbers. */
  damages: { flight: number; damage: Damage[] }[]
  /** In place of key method 2, or before it. */
  first: Word[]
  isHonest: boolean
  asksForPush: boolean
  behind: Word[]
  /** Acknowledges nothing from here on. */
  isDeaf: boolean
  /** Inside of TLS for another key. */
  renewal: Word[] | undefined
  last: Word[]
  /** Changes of the network that the server tells it at once. */
  updates: number
  /** Each message in a packet of its own. */
  isSlow: boolean
}

const script: fc.Arbitrary<Script> = fc.record({
  maxVersion: fc.constantFrom('TLSv1.2' as const, 'TLSv1.3' as const),
  damages: fc.oneof(
    { weight: 2, arbitrary: fc.constant<Script['damages']>([]) },
    fc.array(fc.record({ flight: fc.nat(8), damage: fc.array(damage, { minLength: 1, maxLength: 3 }) }), {
      maxLength: 2,
    }),
  ),
  first: fc.oneof({ weight: 4, arbitrary: fc.constant<Word[]>([]) }, words),
  isHonest: fc.oneof({ weight: 4, arbitrary: fc.constant(true) }, fc.constant(false)),
  asksForPush: fc.boolean(),
  behind: words,
  isDeaf: fc.oneof({ weight: 4, arbitrary: fc.constant(false) }, fc.constant(true)),
  renewal: fc.option(words, { nil: undefined }),
  last: words,
  updates: fc.constantFrom(0, 0, 0, 1, MANY_UPDATES),
  isSlow: fc.boolean(),
})

let port = 5000

async function play(script: Script): Promise<void> {
  const before = { ...counters }
  log.length = 0
  plane.calls.length = 0
  neighbour.sent.length = 0
  const { damages } = script
  const someone = new Stranger(port++, { maxVersion: script.maxVersion }, (flight, number) =>
    damages
      .filter(each => each.flight === number)
      .reduce((bytes, each) => damaged(bytes, each.damage), flight),
  )
  stranger = someone
  const say = async (words: readonly Word[]): Promise<void> => {
    for (const message of words.flatMap(messagesOf)) {
      someone.say(message)
      if (script.isSlow) await someone.settle()
    }
    await someone.settle()
  }
  await someone.settle()
  await say(script.first)
  const key = keyMethod(script.asksForPush ? proto | IV_PROTO.requestPush : proto)
  if (script.isHonest) await say([{ bytes: key }])
  await neighbourLives()
  await say(script.behind)
  someone.isDeaf = script.isDeaf
  if (script.renewal) {
    network.now += INTERVAL_MS
    someone.renegotiate()
    await someone.settle()
    await say(script.renewal)
    if (script.isHonest) await say([{ bytes: key }])
  }
  await say(script.last)
  tell(script.updates)
  await someone.settle()
  await neighbourLives()

  endpoint.end(({ name }) => name === 'stranger', { kind: 'silent' }, 'the script is over')
  someone.close()
  await neighbourLives()
  await forget()

  assert.ok(someone.answers <= MAX_ANSWERS, `${someone.answers} packets`)
  assert.deepEqual([...endpoint.sessions()], [session])
  assert.deepEqual([...plane.ports.keys()], [session.peerId])
  assert.equal(endpoint.handshaking, 0)
  assert.equal(TlsConnection.living, living)
  const grown = (counter: keyof typeof counters): number => counters[counter] - before[counter]
  assert.equal(grown('internalErrors'), 0)
  // One story of each: refused, or up and then down, with a reason in words.
  assert.match(log.join('\n'), /^(refused: [ -~]{3,}|up stranger\ndown stranger: [ -~]{3,})?$/)
  const wasOpened = log[0] === 'up stranger'
  assert.equal(grown('sessionsOpened'), wasOpened ? 1 : 0)
  assert.equal(grown('sessionsRefused'), log[0]?.startsWith('refused') ? 1 : 0)
  if (log.at(-1)?.includes('malformed')) assert.ok(grown('controlMalformed') > 0)
  if (!wasOpened || script.renewal === undefined) assert.equal(grown('renegotiationsFailed'), 0)
}

test('what scripts are made of is a connection when nothing is wrong', async () => {
  await play({
    maxVersion: 'TLSv1.3',
    damages: [],
    first: [],
    isHonest: true,
    asksForPush: false,
    behind: [{ text: 'PUSH_REQUEST', as: 'message' }],
    isDeaf: false,
    renewal: [],
    last: [{ text: 'EXIT', as: 'message' }],
    updates: 1,
    isSlow: false,
  })
  assert.deepEqual(log, ['up stranger', 'down stranger: the client left'])
  assert.ok(plane.calls.some(call => call.startsWith('useKey')))
})

fuzzScripts({ name: 'clients that say anything inside TLS, or damage it', scripts: 250, script, play })

test('after all that, closing the server leaves no connection', () => {
  endpoint.close()
  neighbour.vpn.close()
  assert.equal(TlsConnection.living, 0)
})
