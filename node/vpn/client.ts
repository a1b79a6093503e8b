// One connection of a client to one server, as a machine: packets and a time go in; packets, IP packets and one end come
// out. Which server, and whether to try again, is not decided here: see udp-client.ts.
import type { SecureContext } from 'node:tls'
import { ClientDataChannel } from './client-data.ts'
import type { ClientEnd } from './client-end.ts'
import { asksForKey, optionsString, peerInfoText } from './client-words.ts'
import { ControlChannel } from './control-channel.ts'
import {
  type ControlMessage,
  encodeControlMessage,
  PushReplyCollector,
  parseControlMessage,
} from './control-message.ts'
import { type ControlPacket, ControlWrap, dynamicWrap } from './control-wrap.ts'
import type { DataCipher } from './data-keys.ts'
import { deriveKeys } from './key-exchange.ts'
import {
  type ClientKeyMethod,
  decodeServerKeyMethod,
  encodeClientKeyMethod,
  type ServerKeyMethod,
} from './key-method.ts'
import { KeyRing } from './key-ring.ts'
import type { Negotiation } from './negotiation.ts'
import { isSameSid, keyIdOf, OPCODE, opcodeOf, SID_LENGTH } from './packet.ts'
import { EARLY_NEGOTIATION_START } from './packet-id.ts'
import { IV_PROTO } from './peer-info.ts'
import type { PrfInput } from './prf.ts'
import { applyUpdate } from './push-update.ts'
import { type Pushed, readPushed } from './pushed-options.ts'
import type { TlsCryptV2ClientKey } from './static-key.ts'
import { connectTls, type TlsClientOptions } from './stream-tls.ts'
import { TlsCrypt } from './tls-crypt.ts'

/** What stock 2.6 announces: all bits up to 9 but 0 and 5. */
export const DEFAULT_PROTO = 990
/** ms until the push is asked for by those who said that it may come by itself, and between requests. */
const PUSH_REQUEST_MS = 1000
const PUSH_REPEAT_MS = 5000
/** Packets under one key in the classic format, as in stock clients; ids are 32 bits. */
const MAX_PACKETS = 0xff000000
/** Pushed options of a connection, after updates. */
const MAX_OPTIONS = 4096
const NEVER = Number.POSITIVE_INFINITY

/** Durations are in ms; 0 means never where there is a choice. */
export interface ClientSettings {
  key: TlsCryptV2ClientKey
  context: SecureContext
  checkServer: TlsClientOptions['checkServer']
  /** In order of preference. */
  ciphers: readonly DataCipher[]
  /** IV_PROTO: see peer-info.ts. */
  proto: number
  /** Says by its first packet id that it sends its wrapped key again when asked: 2.6 and later. */
  earlyNegotiation: boolean
  /** Until a first answer. */
  pollMs: number
  handshakeMs: number
  renegotiationMs: number
  /** Instead of what is pushed. */
  pingMs: number | undefined
  pingRestartMs: number | undefined
}

export interface ClientInit {
  settings: ClientSettings
  /** ms since 1970 */
  now(): number
  random(size: number): Uint8Array
  send(packet: Uint8Array): void
  connected(connection: Connected): void
  /** The options of the connection are others now. */
  updated(connection: Connected): void
  /** An IP packet. */
  packet(bytes: Uint8Array): void
  /** Once, and the last thing that is told. */
  ended(end: ClientEnd): void
  /** The deadline may have moved. */
  stirred(): void
}

export interface Connected extends Pushed {
  cipher: DataCipher
  /** Such as `TLSv1.3`. */
  tls: string
}

type State = 'reset' | 'handshake' | 'pull' | 'connected' | 'leaving' | 'ended'

export class VpnClient {
  state: State = 'reset'
  connection: Connected | undefined
  /** Renegotiations that went through. */
  renegotiations = 0
  readonly #init: ClientInit
  readonly #sid: Uint8Array
  #serverSid: Uint8Array | undefined
  readonly #wrap: ControlWrap
  #dynamicWrap: ControlWrap | undefined
  readonly #keys: KeyRing
  readonly #push = new PushReplyCollector()
  /** What the client sent by key method 2, by key id, until the server's answer is there. */
  readonly #sent = new Map<number, ClientKeyMethod>()
  /** What the first keys are made of, until the push says how. */
  #material: PrfInput | undefined
  #data: ClientDataChannel | undefined
  readonly #startedAt: number
  #requestAt = NEVER
  #renegotiateAt = NEVER

  constructor(init: ClientInit) {
    this.#init = init
    const { settings } = init
    this.#startedAt = init.now()
    this.#sid = init.random(SID_LENGTH)
    this.#sid[0] |= 1
    const first = settings.earlyNegotiation ? EARLY_NEGOTIATION_START + 1 : 1
    this.#wrap = new ControlWrap(new TlsCrypt(settings.key.kc, 'client'), this.#startedAt, first)
    this.#keys = new KeyRing({
      now: () => init.now(),
      handshakeMs: settings.handshakeMs,
      open: (keyId, firstMessage, key) => this.#channel(keyId, firstMessage, key),
      use: keyId => this.#data?.use(keyId),
      drop: keyId => {
        this.#sent.delete(keyId)
        this.#data?.drop(keyId)
      },
      failed: () => this.#end({ kind: 'handshake-timeout' }),
    })
  }

  /** Sends the first packet. */
  start(): void {
    this.#keys.begin(0, 0).channel.sendReset(OPCODE.hardResetClientV3)
    this.#init.stirred()
  }

  /** One datagram from the server, whatever it holds. */
  receive(packet: Uint8Array): void {
    if (packet.length === 0 || this.state === 'ended') return
    const opcode = opcodeOf(packet[0])
    if (opcode === OPCODE.dataV2) this.#receiveData(packet)
    else this.#receiveControl(packet)
    this.#init.stirred()
  }

  /** Sends an IP packet; false when there is no connection. */
  send(packet: Uint8Array): boolean {
    if (this.state !== 'connected' || !this.#data) return false
    const sent = this.#data.send(packet, this.#init.now())
    if (this.#data.sealed >= MAX_PACKETS) this.renegotiate()
    return sent
  }

  /** Asks for fresh keys. */
  renegotiate(): void {
    if (this.state !== 'connected') return
    this.#scheduleRenegotiation()
    this.#keys.renegotiate()
    this.#init.stirred()
  }

  /** Says good-bye; `close` when `idle`, or after a while. */
  leave(): void {
    if (this.state !== 'connected' || !this.connection) return
    this.state = 'leaving'
    if (this.connection.exitByControl) this.#keys.speaker?.channel.write(encodeControlMessage('EXIT'))
    else this.#data?.exit(this.#init.now())
  }

  /** True when the server has acknowledged everything. */
  get idle(): boolean {
    return this.#keys.speaker?.channel.idle ?? true
  }

  /** At once and without a word; `ended` is not called. */
  close(): void {
    this.state = 'ended'
    this.#keys.close()
  }

  /** Runs timers. */
  poll(): void {
    const now = this.#init.now()
    if (this.state === 'ended') return
    this.#keys.poll(now)
    const { pollMs, handshakeMs } = this.#init.settings
    if (this.state === 'reset' && now >= this.#startedAt + pollMs) this.#end({ kind: 'no-answer' })
    else if (this.#inHandshake && now >= this.#startedAt + handshakeMs)
      this.#end({ kind: 'handshake-timeout' })
    if (now >= this.#requestAt && this.state === 'pull') {
      this.#requestAt = now + PUSH_REPEAT_MS
      this.#keys.speaker?.channel.write(encodeControlMessage('PUSH_REQUEST'))
    }
    if (now >= this.#silentAt()) this.#end({ kind: 'silence' })
    else if (now >= this.#pingAt()) this.#data?.ping(now)
    if (now >= this.#renegotiateAt) this.renegotiate()
  }

  /** When `poll` has something to do: ms since 1970. */
  deadline(): number {
    if (this.state === 'ended') return NEVER
    const { pollMs, handshakeMs } = this.#init.settings
    const timeout = this.#inHandshake ? this.#startedAt + handshakeMs : NEVER
    const answer = this.state === 'reset' ? this.#startedAt + pollMs : NEVER
    const request = this.state === 'pull' ? this.#requestAt : NEVER
    const line = Math.min(this.#silentAt(), this.#pingAt(), this.#renegotiateAt)
    return Math.min(this.#keys.deadline(), timeout, answer, request, line)
  }

  get #inHandshake(): boolean {
    return this.state === 'reset' || this.state === 'handshake' || this.state === 'pull'
  }

  #pingAt(): number {
    const ms = this.#init.settings.pingMs ?? this.connection?.pingMs ?? 0
    return this.#data && this.state === 'connected' && ms > 0 ? this.#data.sentAt + ms : NEVER
  }

  #silentAt(): number {
    const ms = this.#init.settings.pingRestartMs ?? this.connection?.pingRestartMs ?? 0
    return this.#data && this.state === 'connected' && ms > 0 ? this.#data.receivedAt + ms : NEVER
  }

  #wrapOf(keyId: number): ControlWrap {
    return keyId === 0 ? this.#wrap : (this.#dynamicWrap ?? this.#wrap)
  }

  #channel(keyId: number, firstMessage: 0 | 1, key: () => Negotiation): ControlChannel {
    const { init, settings } = { init: this.#init, settings: this.#init.settings }
    return new ControlChannel({
      keyId,
      firstMessage,
      wrap: this.#wrapOf(keyId),
      localSid: this.#sid,
      remoteSid: this.#serverSid,
      send: packet => {
        const first = opcodeOf(packet[0]) === OPCODE.hardResetClientV3
        init.send(first ? Buffer.concat([packet, settings.key.wkc]) : packet)
        init.stirred()
      },
      now: () => init.now(),
      tls: handlers => connectTls(settings, handlers),
      secure: () => this.#guard(() => this.#secured(key())),
      data: bytes => this.#guard(() => this.#received(key(), bytes)),
      closed: reason => this.#guard(() => this.#end({ kind: 'tls', reason })),
    })
  }

  #receiveControl(packet: Uint8Array): void {
    const keyId = keyIdOf(packet[0])
    const unwrapped = this.#wrapOf(keyId).unwrap(packet)
    if (!unwrapped || unwrapped === 'replay') return
    const { opcode, body, sid } = unwrapped
    if (body.acks.length > 0 && !isSameSid(body.remoteSid, this.#sid)) return
    if (opcode === OPCODE.hardResetServerV2) {
      if (this.state === 'reset' && keyId === 0) this.#answered(unwrapped)
      return
    }
    if (!isSameSid(this.#serverSid, sid)) return
    const key = this.#keys.find(keyId) ?? this.#serverRenegotiates(opcode, keyId)
    if (!key) return
    key.channel.receive(opcode, body)
    key.noteConfirmation(this.#init.now())
  }

  /** The server's answer to the first packet. */
  #answered({ sid, body }: ControlPacket): void {
    const channel = this.#keys.find(0)?.channel
    if (!channel || !body.acks.includes(0) || body.messageId !== 0) return
    this.state = 'handshake'
    this.#serverSid = sid
    channel.remoteSid = sid
    if (asksForKey(body.payload)) channel.resendKey(this.#init.settings.key.wkc)
    // Before TLS: what else the packet carries is none of it.
    channel.receive(OPCODE.hardResetServerV2, body)
    channel.startTls()
  }

  #serverRenegotiates(opcode: number, keyId: number): Negotiation | undefined {
    if (opcode !== OPCODE.softResetV1 || this.state !== 'connected') return undefined
    const key = this.#keys.answer(keyId)
    return key === 'too-soon' ? undefined : key
  }

  #secured(key: Negotiation): void {
    const { random, settings } = this.#init
    const message: ClientKeyMethod = {
      preMaster: random(48),
      random1: random(32),
      random2: random(32),
      options: optionsString(settings.ciphers[0]),
      username: '',
      password: '',
      peerInfo: peerInfoText(settings.ciphers, settings.proto),
    }
    this.#sent.set(key.keyId, message)
    key.channel.write(encodeClientKeyMethod(message))
  }

  #received(key: Negotiation, bytes: Uint8Array): void {
    let rest = bytes
    if (!key.exchanged) {
      const message = key.readKeyMethod(bytes, decodeServerKeyMethod)
      if (message === 'incomplete') return
      if (message === 'bad') {
        this.#end({ kind: 'protocol', reason: 'malformed key exchange' })
        return
      }
      this.#exchanged(key, message)
      rest = new Uint8Array(0)
    }
    const texts = key.readTexts(rest)
    if (texts === 'bad') {
      this.#end({ kind: 'protocol', reason: 'malformed control message' })
      return
    }
    for (const text of texts) this.#control(parseControlMessage(text))
  }

  #exchanged(key: Negotiation, { random1, random2 }: ServerKeyMethod): void {
    const sent = this.#sent.get(key.keyId)
    if (!sent || !this.#serverSid) throw new Error('key exchange without a handshake')
    this.#sent.delete(key.keyId)
    const material: PrfInput = {
      preMaster: sent.preMaster,
      clientRandom1: sent.random1,
      clientRandom2: sent.random2,
      serverRandom1: random1,
      serverRandom2: random2,
      clientSid: this.#sid,
      serverSid: this.#serverSid,
    }
    if (this.#keys.current) {
      this.#setKeys(key, material)
      this.renegotiations++
      this.#scheduleRenegotiation()
      return
    }
    this.#keys.establish(key)
    this.#material = material
    this.state = 'pull'
    const byItself = (this.#init.settings.proto & IV_PROTO.requestPush) !== 0
    this.#requestAt = this.#init.now() + (byItself ? PUSH_REQUEST_MS : 0)
  }

  #control(message: ControlMessage | undefined): void {
    switch (message?.type) {
      case 'push-reply': {
        const options = this.#push.add(message)
        if (options === 'bad') this.#end({ kind: 'protocol', reason: 'it pushed too much' })
        else if (options && this.state === 'pull') this.#connect(options)
        return
      }
      case 'push-update':
        this.#update(message.options)
        return
      case 'auth-failed':
        this.#end({ kind: 'auth-failed', reason: message.reason, temporary: message.temporary })
        return
      case 'restart':
        this.#end({ kind: 'restart', target: message.target, reason: message.reason })
        return
      case 'halt':
        this.#end({ kind: 'halt', reason: message.reason })
        return
      case 'exit':
        this.#end({ kind: 'exit' })
        return
      default:
      // INFO and the like ask nothing of this client.
    }
  }

  #connect(options: string[]): void {
    const { settings, now } = this.#init
    const key = this.#keys.current
    const tls = key?.channel.tls
    const pushed = readPushed(options)
    if (typeof pushed === 'string') {
      this.#end({ kind: 'protocol', reason: pushed })
      return
    }
    if (!key || !tls || !this.#material) throw new Error('pushed before the key exchange')
    const cipher = pushed.cipher ?? settings.ciphers[0]
    if (!settings.ciphers.includes(cipher)) {
      this.#end({ kind: 'protocol', reason: `it chose ${cipher}, which was not offered` })
      return
    }
    const { peerId, format } = pushed
    this.connection = { ...pushed, cipher, tls: tls.version }
    this.#data = new ClientDataChannel(
      { cipher, format, peerId, send: packet => this.#init.send(packet) },
      now(),
    )
    if (pushed.dynamicTlsCrypt) this.#dynamicWrap = dynamicWrap('client', tls, settings.key.kc, now())
    this.#setKeys(key, this.#material)
    this.#material = undefined
    this.#data.use(key.keyId)
    this.state = 'connected'
    this.#scheduleRenegotiation()
    key.channel.acknowledge()
    this.#data.ping(now())
    this.#init.connected(this.connection)
  }

  #update(changes: readonly string[]): void {
    if (!this.connection || (this.#init.settings.proto & IV_PROTO.pushUpdate) === 0) return
    const options = applyUpdate(this.connection.options, changes)
    if (options === undefined || options.length > MAX_OPTIONS) {
      this.#end({ kind: 'protocol', reason: 'it pushed an update that cannot be applied' })
      return
    }
    this.connection = { ...this.connection, options }
    this.#init.updated(this.connection)
  }

  #setKeys(key: Negotiation, material: PrfInput): void {
    const { tls } = key.channel
    if (!tls || !this.#data || !this.connection) throw new Error('no TLS session to make keys of')
    this.#data.set(key.keyId, deriveKeys('client', this.connection.derivation, tls, material))
  }

  #receiveData(packet: Uint8Array): void {
    const payload = this.#data?.receive(packet, this.#init.now())
    if (payload === 'exit') this.#end({ kind: 'exit' })
    else if (payload) this.#init.packet(payload)
  }

  #scheduleRenegotiation(): void {
    const { renegotiationMs } = this.#init.settings
    this.#renegotiateAt = renegotiationMs > 0 ? this.#init.now() + renegotiationMs : NEVER
  }

  #end(end: ClientEnd): void {
    if (this.state === 'ended') return
    this.close()
    this.#init.ended(end)
  }

  /** Events of TLS come from outside of any call of ours: what goes wrong there is the end of this connection alone. */
  #guard(step: () => void): void {
    if (this.state === 'ended') return
    try {
      step()
    } catch (error) {
      this.#end({ kind: 'protocol', reason: error instanceof Error ? error.message : String(error) })
    }
  }
}
