// The OpenVPN server: takes control packets from the data plane, holds the sessions, and tells the data plane what to
// do. No socket and no clock of its own.
import { type Path, pathKey } from '../switch/path.ts'
import { unwrapAlone } from './control-wrap.ts'
import { SessionCookie } from './cookie.ts'
import type { DataPlane } from './data-plane.ts'
import { encodeControlBody, encodeHeader, HEADER_LENGTH, keyIdOf, OPCODE, opcodeOf } from './packet.ts'
import { EARLY_NEGOTIATION_START } from './packet-id.ts'
import { PeerIds } from './peer-ids.ts'
import { RememberedKeys } from './remembered-keys.ts'
import {
  type Applicant,
  ServerSession,
  type SessionCounter,
  type SessionEnd,
  type SessionHost,
  type SessionSettings,
  type Verdict,
} from './session.ts'
import type { TlsServer } from './tls.ts'
import { TlsCrypt } from './tls-crypt.ts'
import { splitWkc, TlsCryptV2Server } from './tls-crypt-v2.ts'
import { TokenBucket } from './token-bucket.ts'

export type EndpointCounter =
  | SessionCounter
  | 'resets'
  | 'resetsLimited'
  | 'controlShort'
  | 'controlUnexpected'
  | 'clientKeyForged'
  | 'cookieInvalid'
  | 'handshakes'
  | 'handshakesLimited'
  | 'sessionsOpened'
  | 'sessionsRefused'

export interface EndpointInit {
  /** tls-crypt-v2 server key, 128 bytes, the same on every controller of the mesh. */
  serverKey: Uint8Array
  tls: TlsServer
  plane: DataPlane
  settings: SessionSettings
  /** Asked with a certificate that chains to the mesh root, at the start and at every renegotiation. */
  admit(applicant: Applicant): Verdict
  /** Network options for PUSH_REPLY. */
  push(session: ServerSession): string[]
  opened(session: ServerSession): void
  ended(session: ServerSession, reason: string): void
  refused(session: ServerSession, reason: string): void
  /** ms since 1970 */
  now(): number
  random(size: number): Uint8Array
  /** Sessions that are open at most. @default 65,536 */
  maxSessions?: number
  /** Handshakes at once at most. @default 4,096 */
  maxHandshakes?: number
  /** Resets answered a second at most, with a burst of twice as many. @default 2,000 */
  resetsPerSecond?: number
}

/** ms that `poll` waits at the least, so that many sessions' timers share a turn. */
const TIMER_GRAIN_MS = 20
/** RESTARTs a turn of `drain`. */
const DRAIN_BATCH = 200
/** Type 1, length 2, value 1: "send your wrapped key again". Source: OpenVPN ssl_pkt.h, EARLY_NEG_FLAGS. */
const RESEND_KEY = Uint8Array.of(0, 1, 0, 2, 0, 1)

export class VpnEndpoint {
  readonly counters: Record<EndpointCounter, number> = {
    resets: 0,
    resetsLimited: 0,
    controlShort: 0,
    controlUnexpected: 0,
    controlForged: 0,
    controlReplayed: 0,
    controlUnknownKey: 0,
    controlMalformed: 0,
    clientKeyForged: 0,
    cookieInvalid: 0,
    handshakes: 0,
    handshakesLimited: 0,
    renegotiations: 0,
    renegotiationsFailed: 0,
    renegotiationTooSoon: 0,
    sessionsOpened: 0,
    sessionsRefused: 0,
  }
  readonly #init: EndpointInit
  readonly #keys: TlsCryptV2Server
  readonly #cookie: SessionCookie
  readonly #remembered: RememberedKeys
  readonly #resets: TokenBucket
  readonly #peerIds: PeerIds
  readonly #host: SessionHost
  /** Every session that still answers, by the client's session id. */
  readonly #bySid = new Map<string, ServerSession[]>()
  readonly #open = new Map<number, ServerSession>()
  readonly #byClient = new Map<string, ServerSession>()
  #handshakes = 0
  #draining = false

  constructor(init: EndpointInit) {
    this.#init = init
    this.#keys = new TlsCryptV2Server(init.serverKey)
    this.#cookie = new SessionCookie(init.random(32), init.settings.handshakeMs / 1000)
    this.#remembered = new RememberedKeys(init.settings.handshakeMs)
    this.#resets = new TokenBucket(init.resetsPerSecond ?? 2000, init.now())
    this.#peerIds = new PeerIds(init.random)
    this.#host = {
      settings: init.settings,
      plane: init.plane,
      now: init.now,
      random: init.random,
      tls: handlers => init.tls.accept(handlers),
      admit: applicant => init.admit(applicant),
      push: session => init.push(session),
      opening: session => this.#opening(session),
      opened: session => this.#opened(session),
      ended: (session, reason) => this.#ended(session, reason),
      refused: (session, reason) => this.#refused(session, reason),
      count: counter => this.#count(counter),
    }
  }

  /** Sessions that are open. */
  sessions(): IterableIterator<ServerSession> {
    return this.#open.values()
  }

  session(peerId: number): ServerSession | undefined {
    return this.#open.get(peerId)
  }

  get handshaking(): number {
    return this.#handshakes
  }

  /** One control packet; whatever it holds, this returns. */
  receive(path: Path, packet: Uint8Array): void {
    if (packet.length <= HEADER_LENGTH) {
      this.#count('controlShort')
      return
    }
    const opcode = opcodeOf(packet[0])
    if (opcode === OPCODE.hardResetClientV3) {
      this.#reset(path, packet)
      return
    }
    const sid = packet.subarray(1, HEADER_LENGTH)
    const known = this.#bySid.get(hex(sid))
    // Session ids are 64 random bits, but anyone can send any: the key decides whose packet it is.
    if (known?.some(session => session.receive(packet))) return
    if (keyIdOf(packet[0]) === 0 && (opcode === OPCODE.controlWkcV1 || isOrdinary(opcode))) {
      this.#begin(path, packet, opcode, known !== undefined)
    } else {
      this.#count('controlUnexpected')
    }
  }

  /** The data plane took an authentic packet of the session from elsewhere. */
  portFloated(peerId: number, path: Path): void {
    const session = this.#open.get(peerId)
    if (session) session.path = path
  }

  portIdle(peerId: number): void {
    this.#open.get(peerId)?.end({ kind: 'silent' }, 'no packet for too long')
  }

  portExit(peerId: number): void {
    this.#open.get(peerId)?.end({ kind: 'silent' }, 'the client left')
  }

  rekeyNeeded(peerId: number): void {
    this.#open.get(peerId)?.renegotiate()
  }

  /** Runs timers; when to call again, in ms since 1970. */
  poll(): number {
    let next = Number.POSITIVE_INFINITY
    for (const sessions of this.#bySid.values()) {
      for (const session of [...sessions]) {
        next = Math.min(next, session.poll())
        if (session.state === 'closed') this.#forget(session)
      }
    }
    const now = this.#init.now()
    if (this.#draining) next = Math.min(next, this.#drainSome() ? now + TIMER_GRAIN_MS : next)
    return Math.max(next, now + TIMER_GRAIN_MS)
  }

  /** Ends those of which `which` is true; how many. */
  end(which: (session: ServerSession) => boolean, how: SessionEnd, reason: string): number {
    const chosen = [...this.#open.values()].filter(which)
    for (const session of chosen) session.end(how, reason)
    return chosen.length
  }

  /** Takes no new sessions and sends those that are open to the next controller; `poll` goes on with it. */
  drain(): void {
    this.#draining = true
  }

  /** Closes everything without a word. */
  close(): void {
    for (const sessions of [...this.#bySid.values()]) for (const session of [...sessions]) session.close()
    this.#bySid.clear()
    this.#handshakes = 0
  }

  /** Answers a first packet and remembers nothing: see cookie.ts. */
  #reset(path: Path, packet: Uint8Array): void {
    const now = this.#init.now()
    if (this.#draining) return
    if (!this.#resets.take(now)) {
      this.#count('resetsLimited')
      return
    }
    const split = splitWkc(packet)
    const client = split && this.#keys.unwrapClientKey(split.wkc)
    if (!split || !client) {
      this.#count('clientKeyForged')
      return
    }
    const crypt = new TlsCrypt(client.kc, 'server')
    const reset = unwrapAlone(crypt, split.packet)
    if (reset?.keyId !== 0 || reset.body.messageId !== 0) {
      this.#count('controlForged')
      return
    }
    this.#count('resets')
    const early = (reset.counter & 0xff000000) === EARLY_NEGOTIATION_START
    if (!early) this.#remembered.put(now, `${pathKey(path)}|${hex(reset.sid)}`, client.kc)
    const serverSid = this.#cookie.make(now, pathKey(path), reset.sid)
    const body = encodeControlBody(OPCODE.hardResetServerV2, {
      acks: [0],
      remoteSid: reset.sid,
      messageId: 0,
      payload: early ? RESEND_KEY : new Uint8Array(0),
    })
    const packetId = new Uint8Array(8)
    const view = new DataView(packetId.buffer)
    view.setUint32(0, 1)
    view.setUint32(4, Math.floor(now / 1000))
    const header = encodeHeader(OPCODE.hardResetServerV2, 0, serverSid)
    this.#init.plane.sendControl(path, crypt.wrap(header, packetId, body))
  }

  /** The third packet of an exchange, whose cookie shows that its sender received the second. */
  #begin(path: Path, packet: Uint8Array, opcode: number, sidKnown: boolean): void {
    const now = this.#init.now()
    const sid = Uint8Array.from(packet.subarray(1, HEADER_LENGTH))
    let inner = packet
    let clientKey: Uint8Array | undefined
    if (opcode === OPCODE.controlWkcV1) {
      const split = splitWkc(packet)
      clientKey = split && this.#keys.unwrapClientKey(split.wkc)?.kc
      if (!split || !clientKey) {
        this.#count('clientKeyForged')
        return
      }
      inner = split.packet
    } else {
      clientKey = this.#remembered.get(now, `${pathKey(path)}|${hex(sid)}`)
      if (!clientKey) {
        this.#count(sidKnown ? 'controlForged' : 'controlUnexpected')
        return
      }
    }
    const crypt = new TlsCrypt(clientKey, 'server')
    const third = unwrapAlone(crypt, inner)
    if (!third) {
      this.#count('controlForged')
      return
    }
    const { acks, remoteSid, messageId = 0 } = third.body
    const plausible = acks.length > 0 && acks.every(ack => ack <= 1) && messageId <= 1
    if (!plausible || !remoteSid || !this.#cookie.check(now, pathKey(path), sid, remoteSid)) {
      this.#count('cookieInvalid')
      return
    }
    if (this.#draining || this.#handshakes >= (this.#init.maxHandshakes ?? 4096)) {
      this.#count('handshakesLimited')
      return
    }
    this.#count('handshakes')
    this.#handshakes++
    const session = new ServerSession({
      host: this.#host,
      path,
      clientSid: sid,
      serverSid: Uint8Array.from(remoteSid),
      clientKey: Uint8Array.from(clientKey),
      crypt,
    })
    const key = hex(sid)
    this.#bySid.set(key, [...(this.#bySid.get(key) ?? []), session])
    session.receive(packet)
  }

  #opening(session: ServerSession): number | { refused: string } {
    const { maxSessions = 65_536 } = this.#init
    if (this.#open.size >= maxSessions && !this.#byClient.has(session.client)) {
      return { refused: 'this controller is full' }
    }
    return this.#peerIds.next(this.#init.now(), peerId => this.#open.has(peerId))
  }

  #opened(session: ServerSession): void {
    this.#handshakes--
    this.#count('sessionsOpened')
    // The newest session of a client is the one that lives.
    const older = this.#byClient.get(session.client)
    this.#open.set(session.peerId, session)
    this.#byClient.set(session.client, session)
    this.#init.opened(session)
    older?.end({ kind: 'silent' }, 'replaced by a newer session of the same client')
  }

  #ended(session: ServerSession, reason: string): void {
    this.#open.delete(session.peerId)
    if (this.#byClient.get(session.client) === session) this.#byClient.delete(session.client)
    this.#peerIds.release(this.#init.now(), session.peerId)
    this.#init.ended(session, reason)
  }

  #refused(session: ServerSession, reason: string): void {
    this.#handshakes--
    this.#count('sessionsRefused')
    this.#init.refused(session, reason)
  }

  #forget(session: ServerSession): void {
    const key = hex(session.clientSid)
    const rest = (this.#bySid.get(key) ?? []).filter(known => known !== session)
    if (rest.length > 0) this.#bySid.set(key, rest)
    else this.#bySid.delete(key)
  }

  #drainSome(): boolean {
    let sent = 0
    for (const session of [...this.#open.values()].slice(0, DRAIN_BATCH)) {
      session.end({ kind: 'restart', target: 'next' }, 'the controller is draining')
      sent++
    }
    return sent > 0
  }

  #count(counter: EndpointCounter): void {
    this.counters[counter]++
  }
}

function isOrdinary(opcode: number): boolean {
  return opcode === OPCODE.controlV1 || opcode === OPCODE.ackV1
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('hex')
}
