// One client's session, server side: from the cookie to the last message. Everything it does goes through its host.
import type { X509Certificate } from 'node:crypto'
import type { Cidr, OverlayAddress } from '../../state/address.ts'
import { formatRemote, type Path } from '../switch/path.ts'
import { ControlChannel } from './control-channel.ts'
import {
  authFailedMessage,
  encodeControlMessage,
  haltMessage,
  parseControlMessage,
  pushReply,
  type RestartTarget,
  restartMessage,
} from './control-message.ts'
import { ControlWrap } from './control-wrap.ts'
import type { DataCipher } from './data-keys.ts'
import type { DataFormat } from './data-packet.ts'
import type { DataPlane } from './data-plane.ts'
import { deriveKeys, exportDynamicTlsCrypt, type KeyDerivation, nextKeyId } from './key-exchange.ts'
import { type ClientKeyMethod, encodeServerKeyMethod } from './key-method.ts'
import { Negotiation } from './negotiation.ts'
import { keyIdOf, OPCODE, opcodeOf } from './packet.ts'
import { chooseCipher, IV_PROTO, optionOf, type PeerInfo, parsePeerInfo } from './peer-info.ts'
import type { TlsChannel, TlsHandlers } from './tls.ts'
import { dynamicTlsCryptKey, TlsCrypt } from './tls-crypt.ts'
import { splitWkc } from './tls-crypt-v2.ts'

/** ms after which the peer, having acknowledged our half of a new key, is sent data under it. */
const KEY_SETTLE_MS = 2000
/** ms for which the control channel of a key outlives the switch to the next one. */
const OLD_CHANNEL_MS = 10_000
/** ms for which a session that is over still answers, so that its last message arrives. */
const LINGER_MS = 3000
/** ms between renegotiations at the least; a client that wants them faster waits. */
const MIN_RENEGOTIATION_MS = 1000
/** ms until a renegotiation that failed is tried again. */
const RENEGOTIATION_RETRY_MS = 30_000
/** Seconds after which a client that is refused for now tries again. */
const BACKOFF_SECONDS = 10

export interface Applicant {
  /** Lower-case hexadecimal. */
  serial: string
  commonName: string
  certificate: X509Certificate
  /** Address and port. */
  remote: string
}

export type Verdict =
  | { ok: true; client: string; name: string; address: OverlayAddress; subnets: readonly Cidr[] }
  /** `temporary`: the client may try again by itself. */
  | { ok: false; reason: string; temporary?: boolean }

export type SessionEnd =
  | { kind: 'auth-failed'; reason: string; temporary?: boolean }
  | { kind: 'restart'; target: RestartTarget; reason?: string }
  | { kind: 'halt'; reason?: string }
  /** The peer is gone or replaced: nothing is sent. */
  | { kind: 'silent' }

/** Durations are in ms. */
export interface SessionSettings {
  /** In order of preference. */
  ciphers: readonly DataCipher[]
  handshakeMs: number
  renegotiationMs: number
  pingSeconds: number
  timeoutSeconds: number
  mtu: number
}

/** What a session asks of the endpoint. */
export interface SessionHost {
  readonly settings: SessionSettings
  readonly plane: DataPlane
  now(): number
  random(size: number): Uint8Array
  tls(handlers: TlsHandlers): TlsChannel
  admit(applicant: Applicant): Verdict
  /** The options about the network; those about the session itself are added here. */
  push(session: ServerSession): string[]
  /** Before data flows: gives the session its peer id, or refuses with a reason. */
  opening(session: ServerSession): number | { refused: string }
  opened(session: ServerSession): void
  /** Once for each session that was opened. */
  ended(session: ServerSession, reason: string): void
  /** Once for each that was not. */
  refused(session: ServerSession, reason: string): void
  count(counter: SessionCounter): void
}

export type SessionCounter =
  | 'controlForged'
  | 'controlReplayed'
  | 'controlUnknownKey'
  | 'controlMalformed'
  | 'renegotiationTooSoon'
  | 'renegotiations'
  | 'renegotiationsFailed'

export interface SessionInit {
  host: SessionHost
  path: Path
  clientSid: Uint8Array
  serverSid: Uint8Array
  /** The client's own tls-crypt key. */
  clientKey: Uint8Array
  crypt: TlsCrypt
}

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
  cipher: DataCipher = 'AES-256-GCM'
  format: DataFormat = 'aead'
  derivation: KeyDerivation = 'tls-ekm'
  tlsVersion = ''
  serial = ''
  commonName = ''
  peerInfo: PeerInfo = parsePeerInfo('')
  /** ms */
  readonly startedAt: number
  openedAt = 0
  readonly clientSid: Uint8Array
  readonly #host: SessionHost
  readonly #serverSid: Uint8Array
  readonly #clientKey: Uint8Array
  readonly #wrap: ControlWrap
  #dynamicWrap: ControlWrap | undefined
  /** Oldest first: at most the previous, the current and the one under negotiation. */
  #keys: Negotiation[] = []
  #current: Negotiation | undefined
  #pushed = false
  #renegotiateAt = Number.POSITIVE_INFINITY
  #lastNegotiationAt: number
  #switchedAt = Number.POSITIVE_INFINITY
  #closeAt = Number.POSITIVE_INFINITY

  constructor(init: SessionInit) {
    this.#host = init.host
    this.path = init.path
    this.clientSid = init.clientSid
    this.#serverSid = init.serverSid
    this.#clientKey = init.clientKey
    this.startedAt = init.host.now()
    this.#lastNegotiationAt = this.startedAt
    // The stateless reset used counter 1.
    this.#wrap = new ControlWrap(init.crypt, this.startedAt, 2)
    this.#negotiate(0, 1).channel.startTls()
  }

  get remote(): string {
    return formatRemote(this.path)
  }

  /** What the client says it is. */
  get version(): string {
    return [this.peerInfo.version, this.peerInfo.platform].filter(Boolean).join(' ')
  }

  /** A control packet; false when it was not made with this session's key. */
  receive(packet: Uint8Array): boolean {
    const bare = opcodeOf(packet[0]) === OPCODE.controlWkcV1 ? splitWkc(packet)?.packet : packet
    const keyId = keyIdOf(packet[0])
    const unwrapped = bare && this.#wrapOf(keyId).unwrap(bare)
    if (!unwrapped) return false
    if (unwrapped === 'replay') {
      this.#host.count('controlReplayed')
      return true
    }
    const { opcode, body } = unwrapped
    const key = this.#keys.find(known => known.keyId === keyId) ?? this.#peerRenegotiates(opcode, keyId)
    if (!key) {
      this.#host.count('controlUnknownKey')
      return true
    }
    if (body.acks.length > 0 && !equal(body.remoteSid, this.#serverSid)) {
      this.#host.count('controlMalformed')
      return true
    }
    key.channel.receive(opcode, body)
    if (key.exchanged && key.confirmedAt === undefined && key.channel.idle) key.confirmedAt = this.#host.now()
    return true
  }

  /** Timers; the next deadline in ms. */
  poll(): number {
    const now = this.#host.now()
    if (this.state === 'closed') return Number.POSITIVE_INFINITY
    if (now >= this.#closeAt) {
      this.close()
      return Number.POSITIVE_INFINITY
    }
    if (this.state === 'handshake' && now - this.startedAt >= this.#host.settings.handshakeMs) {
      this.#fail('the handshake took too long')
      this.close()
      return Number.POSITIVE_INFINITY
    }
    for (const key of this.#keys) if (key.channel.deadline() <= now) key.channel.flush()
    if (this.state === 'open') this.#pollKeys(now)
    return this.#nextDeadline()
  }

  /** The server's own wish for a fresh key. */
  renegotiate(): void {
    if (this.state !== 'open' || !this.#current || this.#underNegotiation()) return
    const key = this.#negotiate(nextKeyId(this.#current.keyId), 0)
    key.channel.sendReset(OPCODE.softResetV1)
    key.channel.startTls()
  }

  /** Tells the client why, and ends: no data passes from here on. */
  end(end: SessionEnd, reason: string): void {
    if (this.state === 'closing' || this.state === 'closed') return
    const wasOpen = this.state === 'open'
    this.state = 'closing'
    this.#closeAt = this.#host.now() + LINGER_MS
    const text = this.#lastMessage(end)
    if (text) (this.#current ?? this.#keys.at(-1))?.channel.write(encodeControlMessage(text))
    if (wasOpen) {
      this.#host.plane.closePort(this.peerId)
      this.#host.ended(this, reason)
    } else {
      this.#host.refused(this, reason)
    }
    if (!text && wasOpen) this.close()
  }

  /** At once and without a word. */
  close(): void {
    if (this.state === 'open') this.end({ kind: 'silent' }, 'closed')
    this.state = 'closed'
    for (const key of this.#keys) key.channel.close()
    this.#keys = []
  }

  #wrapOf(keyId: number): ControlWrap {
    return keyId === 0 ? this.#wrap : (this.#dynamicWrap ?? this.#wrap)
  }

  #underNegotiation(): Negotiation | undefined {
    const last = this.#keys.at(-1)
    return last && last !== this.#current && !last.exchanged ? last : undefined
  }

  #negotiate(keyId: number, firstMessage: 0 | 1): Negotiation {
    const host = this.#host
    const channel = new ControlChannel({
      keyId,
      firstMessage,
      wrap: this.#wrapOf(keyId),
      localSid: this.#serverSid,
      remoteSid: this.clientSid,
      send: packet => host.plane.sendControl(this.path, packet),
      now: () => host.now(),
      tls: handlers => host.tls(handlers),
      secure: () => this.#guard(() => this.#secured(key)),
      data: bytes => this.#guard(() => this.#received(key, bytes)),
      closed: reason => this.#guard(() => this.#channelClosed(key, reason)),
    })
    const key = new Negotiation(channel, host.now())
    this.#keys.push(key)
    this.#lastNegotiationAt = key.startedAt
    return key
  }

  #peerRenegotiates(opcode: number, keyId: number): Negotiation | undefined {
    if (opcode !== OPCODE.softResetV1 || this.state !== 'open' || !this.#current) return undefined
    const newest = this.#keys.at(-1) ?? this.#current
    if (!newest.exchanged || keyId !== nextKeyId(newest.keyId)) return undefined
    if (this.#host.now() - this.#lastNegotiationAt < MIN_RENEGOTIATION_MS) {
      this.#host.count('renegotiationTooSoon')
      return undefined
    }
    // The peer asks for the next key, so it has the newest.
    if (newest !== this.#current) this.#switchTo(newest, this.#host.now())
    const key = this.#negotiate(keyId, 0)
    key.channel.sendReset(OPCODE.softResetV1)
    key.channel.startTls()
    return key
  }

  #secured(key: Negotiation): void {
    const certificate = key.channel.tls?.peerCertificate
    if (!certificate) throw new Error('no client certificate')
    this.tlsVersion = key.channel.tls?.version ?? ''
    this.serial = certificate.serialNumber.toLowerCase()
    this.commonName = commonNameOf(certificate)
  }

  #received(key: Negotiation, bytes: Uint8Array): void {
    if (this.state === 'closing' || this.state === 'closed') return
    if (!key.exchanged) {
      const message = key.readKeyMethod(bytes)
      if (message === 'bad') this.#fail('malformed key exchange')
      else if (message !== 'incomplete') this.#exchange(key, message)
      if (typeof message === 'string' || this.state !== 'open') return
      bytes = new Uint8Array(0)
    }
    const texts = key.readTexts(bytes)
    if (texts === 'bad') {
      this.#host.count('controlMalformed')
      this.end({ kind: 'silent' }, 'malformed control message')
      return
    }
    for (const text of texts) this.#control(text)
  }

  #exchange(key: Negotiation, message: ClientKeyMethod): void {
    const tls = key.channel.tls
    const certificate = tls?.peerCertificate
    if (!tls || !certificate) throw new Error('key exchange without TLS')
    const first = this.state === 'handshake'
    const serverRandom = { random1: this.#host.random(32), random2: this.#host.random(32) }
    const options = mirrored(message.options)
    key.channel.write(encodeServerKeyMethod({ ...serverRandom, options }))
    const verdict = this.#host.admit({
      serial: this.serial,
      commonName: this.commonName,
      certificate,
      remote: this.remote,
    })
    if (first) this.peerInfo = parsePeerInfo(message.peerInfo)
    if (!verdict.ok) {
      this.end({ kind: 'auth-failed', reason: verdict.reason, temporary: verdict.temporary }, verdict.reason)
      return
    }
    if (!first && (verdict.client !== this.client || verdict.address !== this.address)) {
      const reason = 'the certificate changed during the session'
      this.end({ kind: 'auth-failed', reason }, reason)
      return
    }
    if (first && !this.#settle(message, verdict, tls)) return
    const keys = deriveKeys('server', this.derivation, tls, {
      preMaster: message.preMaster,
      clientRandom1: message.random1,
      clientRandom2: message.random2,
      serverRandom1: serverRandom.random1,
      serverRandom2: serverRandom.random2,
      clientSid: this.clientSid,
      serverSid: this.#serverSid,
    })
    const { plane } = this.#host
    plane.setKey(this.peerId, key.keyId, { cipher: this.cipher, format: this.format, ...keys })
    if (!first) {
      this.#host.count('renegotiations')
      return
    }
    this.#current = key
    this.#scheduleRenegotiation()
    this.#host.opened(this)
    if ((this.peerInfo.proto & IV_PROTO.requestPush) !== 0) this.#push()
  }

  /** Settles what stays for the whole session; false when that failed and the client was told. */
  #settle(message: ClientKeyMethod, verdict: Verdict & { ok: true }, tls: TlsChannel): boolean {
    const { settings, plane } = this.#host
    const { proto } = this.peerInfo
    const cipher = chooseCipher(settings.ciphers, this.peerInfo, optionOf(message.options, 'cipher'))
    const refusal = !cipher
      ? `no data cipher in common; this controller has ${settings.ciphers.join(', ')}`
      : (proto & IV_PROTO.dataV2) === 0
        ? 'this client is too old: it cannot send a peer id'
        : optionOf(message.options, 'comp-lzo') !== undefined
          ? 'compression is not supported; remove comp-lzo from the client'
          : undefined
    if (refusal || !cipher) {
      this.end({ kind: 'auth-failed', reason: refusal ?? '' }, refusal ?? '')
      return false
    }
    this.cipher = cipher
    const flags = (proto & IV_PROTO.ccExitNotify) !== 0
    this.derivation = (proto & IV_PROTO.tlsKeyExport) !== 0 ? 'tls-ekm' : 'prf'
    this.format =
      flags && this.derivation === 'tls-ekm' && (proto & IV_PROTO.dataEpoch) !== 0 ? 'epoch' : 'aead'
    this.client = verdict.client
    this.name = verdict.name
    this.address = verdict.address
    this.subnets = verdict.subnets
    const opening = this.#host.opening(this)
    if (typeof opening !== 'number') {
      this.end({ kind: 'auth-failed', reason: opening.refused, temporary: true }, opening.refused)
      return false
    }
    this.peerId = opening
    if (flags && (proto & IV_PROTO.dynamicTlsCrypt) !== 0) {
      const key = dynamicTlsCryptKey(exportDynamicTlsCrypt(tls), this.#clientKey)
      this.#dynamicWrap = new ControlWrap(new TlsCrypt(key, 'server'), this.#host.now())
    }
    this.state = 'open'
    this.openedAt = this.#host.now()
    plane.openPort({
      peerId: this.peerId,
      path: this.path,
      address: this.address,
      subnets: this.subnets,
      pingSeconds: settings.pingSeconds,
      timeoutSeconds: settings.timeoutSeconds,
      mtu: settings.mtu,
    })
    return true
  }

  #control(text: string): void {
    const message = parseControlMessage(text)
    switch (message?.type) {
      case 'push-request':
        this.#push()
        return
      case 'exit':
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
    if (this.#pushed || this.state !== 'open' || !this.#current) return
    this.#pushed = true
    for (const text of pushReply([...this.#host.push(this), ...this.#sessionOptions()])) {
      this.#current.channel.write(encodeControlMessage(text))
    }
    this.#host.plane.useKey(this.peerId, this.#current.keyId)
  }

  /** The options that depend on what this client can do; always in this order. */
  #sessionOptions(): string[] {
    const { proto, mtu } = this.peerInfo
    const options = [`peer-id ${this.peerId}`, `cipher ${this.cipher}`]
    if ((proto & IV_PROTO.ccExitNotify) !== 0) {
      const flags = ['cc-exit']
      if (this.derivation === 'tls-ekm') flags.push('tls-ekm')
      if (this.#dynamicWrap) flags.push('dyn-tls-crypt')
      if (this.format === 'epoch') flags.push('aead-epoch')
      options.push(`protocol-flags ${flags.join(' ')}`)
    } else if (this.derivation === 'tls-ekm') {
      options.push('key-derivation tls-ekm')
    }
    if (mtu !== undefined) options.push(`tun-mtu ${Math.min(mtu, this.#host.settings.mtu)}`)
    return options
  }

  #pollKeys(now: number): void {
    const negotiating = this.#underNegotiation()
    if (negotiating && now - negotiating.startedAt >= this.#host.settings.handshakeMs) {
      this.#abandon(negotiating)
    }
    const newest = this.#keys.at(-1)
    if (
      newest &&
      newest !== this.#current &&
      newest.confirmedAt !== undefined &&
      now - newest.confirmedAt >= KEY_SETTLE_MS
    ) {
      this.#switchTo(newest, now)
    }
    if (now - this.#switchedAt >= OLD_CHANNEL_MS) {
      this.#switchedAt = Number.POSITIVE_INFINITY
      const current = this.#current
      for (const key of this.#keys) if (key !== current && key.confirmedAt !== undefined) key.channel.close()
    }
    if (now >= this.#renegotiateAt) {
      this.#renegotiateAt = now + RENEGOTIATION_RETRY_MS
      this.renegotiate()
    }
  }

  /** Data goes out under the new key; packets under the previous one are still taken, older ones no more. */
  #switchTo(key: Negotiation, now: number): void {
    this.#host.plane.useKey(this.peerId, key.keyId)
    const previous = this.#current
    this.#current = key
    this.#switchedAt = now
    for (const old of this.#keys) if (old !== key && old !== previous) this.#drop(old)
    this.#keys = this.#keys.filter(kept => kept === key || kept === previous)
    this.#scheduleRenegotiation()
  }

  #abandon(key: Negotiation): void {
    this.#host.count('renegotiationsFailed')
    this.#keys = this.#keys.filter(kept => kept !== key)
    this.#drop(key)
    this.#renegotiateAt = this.#host.now() + RENEGOTIATION_RETRY_MS
  }

  #drop(key: Negotiation): void {
    key.channel.close()
    this.#host.plane.dropKey(this.peerId, key.keyId)
  }

  /** Up to a tenth early, so that clients that came together do not renegotiate together. */
  #scheduleRenegotiation(): void {
    const [high, low] = this.#host.random(2)
    const early = ((high << 8) | low) / 0xffff / 10
    this.#renegotiateAt = this.#host.now() + this.#host.settings.renegotiationMs * (1 - early)
  }

  #nextDeadline(): number {
    let next = Math.min(this.#closeAt, this.#renegotiateAt, this.#switchedAt + OLD_CHANNEL_MS)
    for (const key of this.#keys) {
      next = Math.min(next, key.channel.deadline())
      if (!key.exchanged) next = Math.min(next, key.startedAt + this.#host.settings.handshakeMs)
      else if (key !== this.#current && key.confirmedAt !== undefined) {
        const settled = key.confirmedAt + KEY_SETTLE_MS
        if (settled > this.#host.now()) next = Math.min(next, settled)
      }
    }
    return next
  }

  #channelClosed(key: Negotiation, reason: string): void {
    if (this.state === 'handshake') this.#fail(`TLS: ${reason}`)
    else if (key === this.#underNegotiation()) this.#abandon(key)
    else if (key === this.#current && this.state === 'open') this.end({ kind: 'silent' }, `TLS: ${reason}`)
  }

  /** Refuses before there is anything to end; what TLS has to say still goes out. */
  #fail(reason: string): void {
    if (this.state !== 'handshake') return
    this.state = 'closing'
    this.#closeAt = this.#host.now() + LINGER_MS
    this.#host.refused(this, reason)
  }

  #lastMessage(end: SessionEnd): string | undefined {
    switch (end.kind) {
      case 'auth-failed': {
        const canWait = end.temporary && (this.peerInfo.proto & IV_PROTO.authFailedTemp) !== 0
        return authFailedMessage(canWait ? `TEMP[backoff ${BACKOFF_SECONDS}]:${end.reason}` : end.reason)
      }
      case 'restart':
        return restartMessage(end.target, end.reason)
      case 'halt':
        return haltMessage(end.reason)
      case 'silent':
        return undefined
    }
  }

  /** Whatever goes wrong in one session ends that session. */
  #guard(step: () => void): void {
    if (this.state === 'closed') return
    try {
      step()
    } catch (error) {
      const reason = `internal error: ${error instanceof Error ? error.message : String(error)}`
      if (this.state === 'handshake') this.#fail(reason)
      else this.end({ kind: 'silent' }, reason)
    }
  }
}

/** A client compares our options with its own: its own, seen from the other end, give no cause for a warning. */
function mirrored(options: string): string {
  const printable = /^[\x20-\x7e]{1,500}$/.test(options) ? options : 'V4,dev-type tun,key-method 2,tls-client'
  return printable.replace('tls-client', 'tls-server')
}

function commonNameOf(certificate: X509Certificate): string {
  return /^CN=(.*)$/m.exec(certificate.subject)?.[1] ?? ''
}

function equal(a: Uint8Array | undefined, b: Uint8Array): boolean {
  return a !== undefined && Buffer.compare(a, b) === 0
}
