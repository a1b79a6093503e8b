// One client's session, server side: from the cookie to the last message. Everything it does goes through its host.
import type { Cidr, OverlayAddress } from '../../state/address.ts'
import type { Cidr6 } from '../../state/address6.ts'
import { formatRemote, type Path, pathKey } from '../switch/path.ts'
import { ControlChannel } from './control-channel.ts'
import { encodeControlMessage, parseControlMessage, pushReply } from './control-message.ts'
import { type ControlPacket, type ControlWrap, dynamicWrap } from './control-wrap.ts'
import type { DataCipher } from './data-keys.ts'
import type { DataFormat } from './data-packet.ts'
import { deriveKeys, type KeyDerivation } from './key-exchange.ts'
import { type ClientKeyMethod, decodeClientKeyMethod, encodeServerKeyMethod } from './key-method.ts'
import { KeyRing } from './key-ring.ts'
import type { Negotiation } from './negotiation.ts'
import { isSameSid, keyIdOf, OPCODE, opcodeOf } from './packet.ts'
import { IV_PROTO, type PeerInfo, parsePeerInfo } from './peer-info.ts'
import { differs, pushUpdate } from './push-update.ts'
import type { SessionEnd, SessionHost, Verdict } from './session-host.ts'
import { lastMessage, mirroredOptions } from './session-words.ts'
import { agree, type Terms, termOptions } from './terms.ts'
import { NOT_VALID_YET, type TlsChannel } from './tls.ts'
import { splitWkc } from './tls-crypt-v2.ts'

export type { Applicant, SessionEnd, SessionSettings, Verdict } from './session-host.ts'

/** ms for which a session that is over still answers, so that its last message arrives. */
const LINGER_MS = 5000
/** ms until a renegotiation that failed is tried again. */
const RENEGOTIATION_RETRY_MS = 30_000
/** Parts of a PUSH_REPLY: what the control channel can hold at once. */
const MAX_PUSH_PARTS = 56

export interface SessionInit {
  host: SessionHost
  path: Path
  clientSid: Uint8Array
  serverSid: Uint8Array
  /** The client's own tls-crypt key. */
  clientKey: Uint8Array
  /** What the first packet below was unwrapped with. */
  wrap: ControlWrap
}

/** `closing`: over, and only there to deliver its last message. */
type State = 'handshake' | 'open' | 'closing' | 'closed'

export class ServerSession {
  path: Path
  state: State = 'handshake'
  /** Set from admission on. */
  peerId = -1
  client = ''
  name = ''
  address = 0 as OverlayAddress
  subnets: readonly Cidr[] = []
  subnets6: readonly Cidr6[] = []
  tlsVersion = ''
  serial = ''
  commonName = ''
  /** What the client says it is. */
  version = ''
  /** It is to be pushed the list of controllers. */
  takesRemotes = false
  /** It takes the option `dns` as OpenVPN 2.7 does. */
  takesDns = false
  /** ms */
  readonly startedAt: number
  /** ms since 1970 */
  openedAt = 0
  readonly clientSid: Uint8Array
  readonly #host: SessionHost
  readonly #serverSid: Uint8Array
  readonly #clientKey: Uint8Array
  readonly #wrap: ControlWrap
  readonly #keys: KeyRing
  #dynamicWrap: ControlWrap | undefined
  /** IV_PROTO of the client. */
  #proto = 0
  #terms: Terms | undefined
  /** Largest `tun-mtu` that the client takes by PUSH_REPLY. */
  #clientMtu: number | undefined
  /** The network's options, as the client has them; undefined before it was told. */
  #pushed: readonly string[] | undefined
  #isReachable = false
  /** The client asked to be told before it was reachable. */
  #isPushDue = false
  #lastText: string | undefined
  #renegotiateAt = Number.POSITIVE_INFINITY
  #closeAt = Number.POSITIVE_INFINITY

  constructor(init: SessionInit) {
    const { host } = init
    this.#host = host
    this.path = init.path
    this.clientSid = init.clientSid
    this.#serverSid = init.serverSid
    this.#clientKey = init.clientKey
    this.startedAt = host.now()
    this.#wrap = init.wrap
    this.#keys = new KeyRing({
      now: () => host.now(),
      handshakeMs: host.settings.handshakeMs,
      open: (keyId, firstMessage, key) => this.#channel(keyId, firstMessage, key),
      // A key of a session that is over carries its last message, and no data.
      use: keyId => {
        if (this.state === 'open') host.plane.useKey(this.peerId, keyId)
      },
      drop: keyId => {
        if (this.state === 'open') host.plane.dropKey(this.peerId, keyId)
      },
      failed: () => {
        host.count('renegotiationsFailed')
        this.#renegotiateAt = host.now() + RENEGOTIATION_RETRY_MS
      },
    })
    this.#keys.begin(0, 1).channel.startTls()
  }

  get remote(): string {
    return formatRemote(this.path)
  }

  get cipher(): DataCipher {
    return this.#terms?.cipher ?? 'AES-256-GCM'
  }

  get format(): DataFormat {
    return this.#terms?.format ?? 'aead'
  }

  get derivation(): KeyDerivation {
    return this.#terms?.derivation ?? 'tls-ekm'
  }

  /**
   * A control packet; false when it was not made with this session's key. It does not move the session, but says which of our
   * addresses its client asks.
   */
  receive(path: Path, packet: Uint8Array): boolean {
    const bare = opcodeOf(packet[0]) === OPCODE.controlWkcV1 ? splitWkc(packet)?.packet : packet
    const keyId = keyIdOf(packet[0])
    const unwrapped = bare && this.#wrapOf(keyId).unwrap(bare)
    if (!unwrapped) return false
    if (unwrapped === 'replay') {
      this.#host.count('controlReplayed')
      return true
    }
    if (pathKey(path) === pathKey(this.path)) this.path = path
    this.take(unwrapped)
    return true
  }

  /** A control packet of this session, already unwrapped. */
  take({ opcode, keyId, body }: ControlPacket): void {
    if (body.acks.length > 0 && !isSameSid(body.remoteSid, this.#serverSid)) {
      this.#host.count('controlMalformed')
      return
    }
    const key = this.#keys.find(keyId) ?? this.#peerRenegotiates(opcode, keyId)
    if (!key) {
      this.#host.count('controlUnknownKey')
      return
    }
    key.channel.receive(opcode, body)
    key.noteConfirmation(this.#host.now())
    this.#host.stirred(this)
  }

  /** Runs timers. */
  poll(): void {
    const now = this.#host.now()
    if (this.state === 'closed') return
    if (this.state === 'handshake' && now >= this.startedAt + this.#host.settings.handshakeMs) {
      this.#fail('the handshake took too long')
      this.close()
    } else if (now >= this.#closeAt) {
      this.close()
    } else {
      this.#keys.poll(now)
      if (now >= this.#renegotiateAt && this.state === 'open') this.renegotiate()
    }
  }

  /** When `poll` has something to do, by the host's clock. */
  deadline(): number {
    if (this.state === 'closed') return this.#host.now()
    const next = Math.min(this.#keys.deadline(), this.#closeAt)
    if (this.state === 'open') return Math.min(next, this.#renegotiateAt)
    return this.state === 'handshake'
      ? Math.min(next, this.startedAt + this.#host.settings.handshakeMs)
      : next
  }

  /** Packets to the client find their way from now on: it may be told that it is connected. */
  reachable(): void {
    this.#isReachable = true
    if (!this.#isPushDue) return
    this.#guard(() => this.#push())
    this.#host.stirred(this)
  }

  /** The server's own wish for a fresh key. */
  renegotiate(): void {
    if (this.state !== 'open') return
    this.#renegotiateAt = this.#host.now() + RENEGOTIATION_RETRY_MS
    this.#keys.renegotiate()
    this.#host.stirred(this)
  }

  /** Whether the client was told other options of the network than these. */
  isBehind(options: readonly string[]): boolean {
    return this.state === 'open' && this.#pushed !== undefined && differs(this.#pushed, options)
  }

  /** Whether the client takes these options without a new connection. */
  canUpdate(options: readonly string[]): boolean {
    const pushed = this.#pushed
    return (
      (this.#proto & IV_PROTO.pushUpdate) !== 0 &&
      pushed !== undefined &&
      pushUpdate(pushed, options) !== undefined
    )
  }

  /** Tells a connected client other options of the network; see `canUpdate`. */
  update(options: readonly string[]): void {
    const { speaker } = this.#keys
    const text = this.#pushed && pushUpdate(this.#pushed, options)
    if (this.state !== 'open' || text === undefined || speaker === undefined) return
    speaker.update(text)
    this.#pushed = options
    this.#host.count('pushUpdates')
    this.#host.stirred(this)
  }

  /** What the client's packets may come from is other than before; it is not told so. */
  setSources(subnets: readonly Cidr[], subnets6: readonly Cidr6[]): void {
    this.subnets = subnets
    this.subnets6 = subnets6
    if (this.state === 'open') this.#host.plane.setSources(this.peerId, { subnets, subnets6 })
  }

  /** Tells the client why, and ends: no data passes from here on. */
  end(end: SessionEnd, reason: string): void {
    if (this.state === 'closing' || this.state === 'closed') return
    const wasOpen = this.state === 'open'
    this.state = 'closing'
    this.#closeAt = this.#host.now() + LINGER_MS
    this.#lastText = lastMessage(end, { proto: this.#proto, version: this.version })
    this.#keys.hurry()
    if (this.#lastText) this.#keys.speaker?.channel.write(encodeControlMessage(this.#lastText))
    try {
      if (wasOpen) this.#host.plane.closePort(this.peerId)
    } finally {
      if (end.kind === 'silent') this.close()
      this.#host.stirred(this)
      if (wasOpen) this.#host.ended(this, reason)
      else this.#host.refused(this, reason)
    }
  }

  /** At once and without a word. */
  close(): void {
    if (this.state === 'open') this.end({ kind: 'silent' }, 'closed')
    this.state = 'closed'
    this.#keys.close()
    this.#host.stirred(this)
  }

  #wrapOf(keyId: number): ControlWrap {
    if (keyId === 0 || this.#terms?.dynamicTlsCrypt !== true) return this.#wrap
    this.#dynamicWrap ??= this.#makeDynamicWrap()
    return this.#dynamicWrap ?? this.#wrap
  }

  /** Many sessions never renegotiate, so this waits for the first time. Until then the first TLS session is there. */
  #makeDynamicWrap(): ControlWrap | undefined {
    const tls = this.#keys.find(0)?.channel.tls
    if ((this.state !== 'open' && this.state !== 'closing') || !tls) return undefined
    return dynamicWrap('server', tls, this.#clientKey, this.#host.now(), this.#host.wrapKeys)
  }

  #channel(keyId: number, firstMessage: 0 | 1, key: () => Negotiation): ControlChannel {
    const host = this.#host
    return new ControlChannel({
      keyId,
      firstMessage,
      wrap: this.#wrapOf(keyId),
      localSid: this.#serverSid,
      remoteSid: this.clientSid,
      send: packet => {
        host.plane.sendControl(this.path, packet)
        host.stirred(this)
      },
      now: () => host.now(),
      tls: handlers => host.tls(handlers),
      secure: () => {},
      data: bytes => this.#guard(() => this.#received(key(), bytes)),
      closed: reason => this.#guard(() => this.#channelClosed(key(), reason)),
    })
  }

  #peerRenegotiates(opcode: number, keyId: number): Negotiation | undefined {
    // A wish that crossed our last message: the client does not read that any more, other than by the key it asks for.
    const isLate = this.state === 'closing' && this.#lastText !== undefined
    if (opcode !== OPCODE.softResetV1 || (this.state !== 'open' && !isLate)) return undefined
    const key = this.#keys.answer(keyId)
    if (key === 'too-soon') this.#host.count('renegotiationTooSoon')
    if (typeof key !== 'object') return undefined
    if (isLate) key.channel.hurry()
    return key
  }

  #received(key: Negotiation, bytes: Uint8Array): void {
    if (this.state === 'closed') return
    let rest = bytes
    if (!key.exchanged) {
      const message = key.readKeyMethod(bytes, decodeClientKeyMethod)
      if (message === 'incomplete') return
      if (message === 'bad') {
        this.#host.count('controlMalformed')
        this.#channelClosed(key, 'malformed key exchange')
        return
      }
      this.#exchange(key, message)
      // Stock clients put nothing behind it in one record, others may.
      rest = new Uint8Array(0)
    }
    if (this.state !== 'open') return
    const texts = key.readTexts(rest)
    if (texts === 'bad') {
      this.#host.count('controlMalformed')
      this.end({ kind: 'silent' }, 'malformed control message')
      return
    }
    for (const text of texts) this.#control(key, text)
  }

  #exchange(key: Negotiation, message: ClientKeyMethod): void {
    const { tls } = key.channel
    if (!tls) throw new Error('key exchange without TLS')
    const serverRandom = { random1: this.#host.random(32), random2: this.#host.random(32) }
    key.channel.write(encodeServerKeyMethod({ ...serverRandom, options: mirroredOptions(message.options) }))
    if (this.state === 'closing') {
      // The end came while the keys were being renewed: a stock client reads no other channel than this.
      if (this.#lastText) key.channel.write(encodeControlMessage(this.#lastText))
      return
    }
    const first = this.state === 'handshake'
    const info = parsePeerInfo(message.peerInfo)
    if (first) this.#proto = info.proto
    const verdict = this.#judge(tls)
    if (!verdict.ok) {
      this.end({ kind: 'auth-failed', reason: verdict.reason, temporary: verdict.temporary }, verdict.reason)
      return
    }
    if (first && !this.#settle(message, info, verdict)) return
    const keys = deriveKeys('server', this.derivation, tls, {
      preMaster: message.preMaster,
      clientRandom1: message.random1,
      clientRandom2: message.random2,
      serverRandom1: serverRandom.random1,
      serverRandom2: serverRandom.random2,
      clientSid: this.clientSid,
      serverSid: this.#serverSid,
    })
    const { cipher, format } = this
    this.#host.plane.setKey(this.peerId, key.keyId, { cipher, format, ...keys })
    this.#scheduleRenegotiation()
    if (!first) {
      // The client has read no other channel than this since it began with these keys.
      for (const text of this.#keys.takeUpdates()) key.update(text)
      this.#host.count('renegotiations')
      return
    }
    this.#keys.establish(key)
    this.#host.opened(this)
    if ((this.#proto & IV_PROTO.requestPush) !== 0) this.#push()
  }

  /** Who stands behind a TLS connection, and whether it may come in, or stay. */
  #judge(tls: TlsChannel): Verdict {
    const { peer } = tls
    if (!peer || tls.certificateProblem !== undefined) {
      const reason = tls.certificateProblem ?? 'no certificate'
      return { ok: false, reason, temporary: reason === NOT_VALID_YET }
    }
    const { serial, commonName } = peer
    const first = this.state === 'handshake'
    if (first) {
      this.serial = serial
      this.commonName = commonName
      this.tlsVersion = tls.version
    }
    const verdict = this.#host.admit({ ...peer, remote: this.remote })
    if (!verdict.ok || first) return verdict
    if (
      verdict.client !== this.client ||
      verdict.address !== this.address ||
      commonName !== this.commonName
    ) {
      return { ok: false, reason: 'the certificate changed during the session' }
    }
    // A renewed certificate of the same client.
    this.serial = serial
    return verdict
  }

  /** Settles what stays for the whole session; false when that failed and the client was told. */
  #settle(message: ClientKeyMethod, info: PeerInfo, verdict: Verdict & { ok: true }): boolean {
    const { settings, plane } = this.#host
    const terms = agree(settings.ciphers, info, message.options)
    if ('refused' in terms) {
      this.end({ kind: 'auth-failed', reason: terms.refused }, terms.refused)
      return false
    }
    this.client = verdict.client
    this.name = verdict.name
    this.address = verdict.address
    this.subnets = verdict.subnets
    this.subnets6 = verdict.subnets6 ?? []
    const opening = this.#host.opening(this)
    if (typeof opening !== 'number') {
      this.end({ kind: 'auth-failed', reason: opening.refused, temporary: true }, opening.refused)
      return false
    }
    this.peerId = opening
    this.#terms = terms
    this.version = [info.version, info.platform].filter(Boolean).join(' ')
    this.takesRemotes = info.takesRemotes
    this.takesDns = (info.proto & IV_PROTO.dnsOptionV2) !== 0
    if (info.mtu !== undefined) this.#clientMtu = info.mtu
    this.state = 'open'
    this.openedAt = this.#host.date()
    plane.openPort({
      peerId: this.peerId,
      path: this.path,
      address: this.address,
      subnets: this.subnets,
      subnets6: this.subnets6,
      pingSeconds: settings.pingSeconds,
      timeoutSeconds: settings.timeoutSeconds,
      mtu: settings.mtu,
    })
    return true
  }

  #control(key: Negotiation, text: string): void {
    const message = parseControlMessage(text)
    switch (message?.type) {
      case 'push-request':
        this.#push()
        return
      case 'exit':
        key.channel.acknowledge()
        this.end({ kind: 'silent' }, 'the client left')
        return
      case undefined:
        this.#host.count('controlMalformed')
        return
      default:
      // What else a client may say (INFO, CR_RESPONSE, …) asks nothing of us.
    }
  }

  /** Answers once: the control channel is reliable, so a repeated request only means that the answer is under way. */
  #push(): void {
    const key = this.#keys.current
    if (this.#pushed !== undefined || this.state !== 'open' || !key || !this.#terms) return
    this.#isPushDue = !this.#isReachable
    if (this.#isPushDue) return
    const options = this.#host.push(this)
    this.#pushed = options
    const { mtu } = this.#host.settings
    const tunMtu = this.#clientMtu === undefined ? undefined : Math.min(this.#clientMtu, mtu)
    const texts = pushReply([...options, ...termOptions(this.#terms, this.peerId, tunMtu)])
    if (texts.length > MAX_PUSH_PARTS) {
      const reason = 'there are more routes than fit a PUSH_REPLY'
      this.end({ kind: 'auth-failed', reason, temporary: true }, reason)
      return
    }
    for (const text of texts) key.channel.write(encodeControlMessage(text))
    this.#host.plane.useKey(this.peerId, key.keyId)
  }

  #scheduleRenegotiation(): void {
    const [high, low] = this.#host.random(2)
    const early = ((high << 8) | low) / 0xffff / 10
    this.#renegotiateAt = this.#host.now() + this.#host.settings.renegotiationMs * (1 - early)
  }

  #channelClosed(key: Negotiation, reason: string): void {
    if (this.state === 'handshake') this.#fail(`TLS: ${reason}`)
    else if (key === this.#keys.underway) this.#keys.abandon(key)
    else if (key === this.#keys.speaker) this.end({ kind: 'silent' }, `TLS: ${reason}`)
  }

  /** Refuses before there is anything to end; what TLS has to say still goes out. */
  #fail(reason: string): void {
    if (this.state !== 'handshake') return
    this.state = 'closing'
    this.#closeAt = this.#host.now() + LINGER_MS
    this.#host.refused(this, reason)
    this.#host.stirred(this)
  }

  /** Something went wrong that must not go wrong: ends this session and throws nothing. */
  fault(error: unknown): void {
    this.#host.count('internalErrors')
    const reason = `internal error: ${error instanceof Error ? error.message : String(error)}`
    try {
      if (this.state === 'handshake') this.#fail(reason)
      else this.end({ kind: 'silent' }, reason)
    } catch {
      this.close()
    }
  }

  #guard(step: () => void): void {
    if (this.state === 'closed') return
    try {
      step()
    } catch (error) {
      this.fault(error)
    }
  }
}
