// The OpenVPN server: takes control packets from the data plane, holds the sessions, and tells the data plane what to
// do. No socket and no clock of its own.
import type { Path } from '../switch/path.ts'
import type { DataPlane } from './data-plane.ts'
import { Deadlines } from './deadlines.ts'
import { FirstExchange, type FirstExchangeCounter, type Newcomer } from './first-exchange.ts'
import { HEADER_LENGTH, keyIdOf, OPCODE, opcodeOf } from './packet.ts'
import { PeerIds } from './peer-ids.ts'
import { ServerSession } from './session.ts'
import type {
  Applicant,
  SessionCounter,
  SessionEnd,
  SessionHost,
  SessionSettings,
  Verdict,
} from './session-host.ts'
import type { TlsServer } from './tls.ts'
import { WaitingRoom } from './waiting-room.ts'
import { type MakeWrapKeys, wrapKeys } from './wrap-keys.ts'

export type EndpointCounter =
  | SessionCounter
  | FirstExchangeCounter
  | 'resetsDraining'
  | 'controlShort'
  | 'handshakes'
  | 'handshakesLimited'
  | 'sessionsOpened'
  | 'sessionsRefused'

export interface EndpointInit {
  /** tls-crypt-v2 server key, 128 bytes, the same on every controller of the mesh. */
  serverKey: Uint8Array
  tls: TlsServer
  /** @default by node:crypto */
  wrapKeys?: MakeWrapKeys
  plane: DataPlane
  settings: SessionSettings
  /** Asked with a certificate that chains to the mesh root, at the start and at every renegotiation. */
  admit(applicant: Applicant): Verdict
  /** Network options for PUSH_REPLY. */
  push(session: ServerSession): string[]
  /** Call the session's `reachable` when packets to it find their way; before that its client is not told that it is connected. */
  opened(session: ServerSession): void
  ended(session: ServerSession, reason: string): void
  refused(session: ServerSession, reason: string): void
  /**
   * Asked before anything else about a client whose tls-crypt-v2 key is genuine, with the metadata in it: its type byte
   * and what follows. One that is refused gets no answer at all. @default all are accepted
   */
  acceptClientKey?(metadata: Uint8Array): boolean
  /** ms of a clock that nobody sets back or ahead, about those since 1970: clients see its seconds, which must not fall. */
  now(): number
  /** ms since 1970, for what people are shown. */
  date(): number
  random(size: number): Uint8Array
  /** Sessions that are open at most. @default 65,536 */
  maxSessions?: number
  /** Sessions that are not open at most: handshakes, and refusals under way. @default 4,096 */
  maxHandshakes?: number
  /** Resets answered a second at most, with a burst of twice as many. @default 2,000 */
  resetsPerSecond?: number
}

/** ms that `poll` waits at the least, so that many sessions' timers share a turn. */
const TIMER_GRAIN_MS = 20
/** RESTARTs a turn of `drain`. */
const DRAIN_BATCH = 200
/** Handshakes begun a turn: what they cost the others is some milliseconds at most. */
const BEGIN_BATCH = 8

export class VpnEndpoint {
  readonly counters: Record<EndpointCounter, number> = {
    resets: 0,
    resetsLimited: 0,
    resetsReplayed: 0,
    openingsLimited: 0,
    resetsDraining: 0,
    controlShort: 0,
    controlUnexpected: 0,
    controlForged: 0,
    controlReplayed: 0,
    controlUnknownKey: 0,
    controlMalformed: 0,
    clientKeyForged: 0,
    clientKeyRefused: 0,
    cookieInvalid: 0,
    handshakes: 0,
    handshakesLimited: 0,
    internalErrors: 0,
    pushUpdates: 0,
    renegotiations: 0,
    renegotiationsFailed: 0,
    renegotiationTooSoon: 0,
    sessionsOpened: 0,
    sessionsRefused: 0,
  }
  readonly #init: EndpointInit
  readonly #first: FirstExchange
  readonly #peerIds: PeerIds
  readonly #host: SessionHost
  /** Every session that still answers, by the client's session id. */
  readonly #bySid = new Map<string, ServerSession[]>()
  /** Those of them that were never open, with the names of their clients; and the latest of each of these. */
  readonly #pending = new Map<ServerSession, string>()
  readonly #attempts = new Map<string, ServerSession>()
  readonly #open = new Map<number, ServerSession>()
  readonly #byClient = new Map<string, ServerSession>()
  readonly #deadlines = new Deadlines<ServerSession>()
  /** Sessions whose deadlines are to be asked for again. */
  readonly #stirred = new Set<ServerSession>()
  readonly #waiting = new WaitingRoom()
  /** Handshakes begun since the last turn. */
  #begun = 0
  #draining = false

  constructor(init: EndpointInit) {
    this.#init = init
    this.#first = new FirstExchange({
      serverKey: init.serverKey,
      wrapKeys: init.wrapKeys ?? wrapKeys,
      handshakeMs: init.settings.handshakeMs,
      resetsPerSecond: init.resetsPerSecond ?? 2000,
      acceptClientKey: init.acceptClientKey && (metadata => init.acceptClientKey?.(metadata) ?? true),
      isKnown: sid => this.#bySid.has(hex(sid)) || this.#waiting.has(hex(sid)),
      now: init.now,
      random: init.random,
      count: counter => this.#count(counter),
    })
    this.#peerIds = new PeerIds(init.random)
    this.#host = {
      settings: init.settings,
      plane: init.plane,
      now: init.now,
      date: init.date,
      random: init.random,
      tls: handlers => init.tls.accept(handlers),
      wrapKeys: init.wrapKeys ?? wrapKeys,
      admit: applicant => init.admit(applicant),
      push: session => init.push(session),
      opening: session => this.#opening(session),
      opened: session => this.#opened(session),
      ended: (session, reason) => this.#ended(session, reason),
      refused: (session, reason) => this.#refused(session, reason),
      stirred: session => this.#stirred.add(session),
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

  /** Sessions that are not open: handshakes, those that wait to begin one, and refusals under way. */
  get handshaking(): number {
    return this.#pending.size + this.#waiting.size
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
    if (!ofSessions(opcode)) {
      this.#count('controlUnexpected')
      return
    }
    const sid = hex(packet.subarray(1, HEADER_LENGTH))
    const known = this.#bySid.get(sid)
    // Session ids are 64 random bits, but anyone can send any: the key decides whose packet it is.
    if (known?.some(session => this.#attempt(session, () => session.receive(path, packet)) !== false)) return
    if (this.#waiting.keep(sid, packet)) return
    if (keyIdOf(packet[0]) === 0 && opcode !== OPCODE.softResetV1) {
      this.#welcome(sid, path, packet)
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

  /** Runs timers; when to call again, by the same clock. */
  poll(): number {
    const now = this.#init.now()
    this.#settle()
    for (let due = this.#deadlines.take(now); due; due = this.#deadlines.take(now)) {
      const session = due
      this.#attempt(session, () => session.poll())
      this.#stirred.add(due)
    }
    if (this.#draining) this.#drainSome()
    this.#beginSome()
    this.#settle()
    if (this.#waiting.size > 0) return now
    const next = this.#draining && this.#open.size > 0 ? now : this.#deadlines.next
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

  /** Takes new sessions again. */
  serve(): void {
    this.#draining = false
  }

  /** In words why no new client gets in; undefined when one does. */
  get closedFor(): string | undefined {
    if (this.#draining) return 'it takes no clients now'
    return this.#open.size >= this.#mostSessions ? `all ${this.#mostSessions} sessions are in use` : undefined
  }

  /** Closes everything without a word. */
  close(): void {
    this.#waiting.clear()
    for (const sessions of [...this.#bySid.values()]) for (const session of [...sessions]) session.close()
    this.#settle()
  }

  #reset(path: Path, packet: Uint8Array): void {
    if (this.#draining) {
      this.#count('resetsDraining')
      return
    }
    const answer = this.#first.answer(path, packet)
    if (answer) this.#init.plane.sendControl(path, answer)
  }

  /** Takes in who proves that it receives our answers. */
  #welcome(sid: string, path: Path, packet: Uint8Array): void {
    const newcomer = this.#first.open(path, packet)
    if (!newcomer) return
    const client = nameOf(newcomer)
    this.#abandon(client)
    if (this.#draining || this.handshaking >= (this.#init.maxHandshakes ?? 4096)) {
      this.#count('handshakesLimited')
    } else if (this.#begun < BEGIN_BATCH && this.#waiting.size === 0) {
      this.#begin(client, path, newcomer)
    } else {
      this.#waiting.add(this.#init.now(), client, sid, path, newcomer)
    }
  }

  /**
   * A client that begins anew has given up what it had begun, and what it was refused for: in a crowd, that must not be what
   * the others wait for.
   */
  #abandon(client: string): void {
    this.#waiting.remove(client)
    const before = this.#attempts.get(client)
    if (before === undefined) return
    before.close()
    this.#forget(before)
  }

  /** Begins handshakes of those that wait, and leaves the others time for theirs. */
  #beginSome(): void {
    this.#begun = 0
    while (this.#begun < BEGIN_BATCH) {
      const waiting = this.#waiting.take(this.#init.now())
      if (waiting === undefined) return
      if (this.#draining) {
        this.#count('handshakesLimited')
        continue
      }
      const session = this.#begin(waiting.client, waiting.path, waiting.newcomer)
      for (const packet of waiting.further)
        this.#attempt(session, () => session.receive(waiting.path, packet))
    }
  }

  #begin(client: string, path: Path, newcomer: Newcomer): ServerSession {
    this.#begun++
    this.#count('handshakes')
    const session = new ServerSession({ host: this.#host, path, ...newcomer })
    this.#pending.set(session, client)
    this.#attempts.set(client, session)
    const key = hex(newcomer.clientSid)
    this.#bySid.set(key, [...(this.#bySid.get(key) ?? []), session])
    this.#attempt(session, () => session.take(newcomer.packet))
    return session
  }

  /** Whatever goes wrong in one session ends that session, and no other. */
  #attempt<T>(session: ServerSession, step: () => T): T | undefined {
    try {
      return step()
    } catch (error) {
      session.fault(error)
      return undefined
    }
  }

  /** Takes note of deadlines that have moved and of sessions that are over. */
  #settle(): void {
    for (const session of this.#stirred) {
      if (session.state === 'closed') this.#forget(session)
      else this.#deadlines.set(session, session.deadline())
    }
    this.#stirred.clear()
  }

  get #mostSessions(): number {
    return this.#init.maxSessions ?? 65_536
  }

  #opening(session: ServerSession): number | { refused: string } {
    if (this.#open.size >= this.#mostSessions && !this.#byClient.has(session.client)) {
      return { refused: 'this controller is full' }
    }
    return this.#peerIds.next(this.#init.now(), peerId => this.#open.has(peerId))
  }

  #opened(session: ServerSession): void {
    this.#settled(session)
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
    this.#count('sessionsRefused')
    this.#init.refused(session, reason)
  }

  #forget(session: ServerSession): void {
    this.#deadlines.delete(session)
    this.#settled(session)
    const key = hex(session.clientSid)
    const rest = (this.#bySid.get(key) ?? []).filter(known => known !== session)
    if (rest.length > 0) this.#bySid.set(key, rest)
    else this.#bySid.delete(key)
  }

  /** It is open, or over. */
  #settled(session: ServerSession): void {
    const client = this.#pending.get(session)
    if (client === undefined) return
    this.#pending.delete(session)
    if (this.#attempts.get(client) === session) this.#attempts.delete(client)
  }

  #drainSome(): void {
    for (const session of [...this.#open.values()].slice(0, DRAIN_BATCH)) {
      session.end({ kind: 'restart', target: 'next' }, 'the controller is draining')
    }
  }

  #count(counter: EndpointCounter): void {
    this.counters[counter]++
  }
}

/** Names a client by a part of its key, which nobody else has. */
function nameOf({ clientKey }: Newcomer): string {
  return hex(clientKey.subarray(0, 16))
}

/** What a client sends on after its first packet. */
function ofSessions(opcode: number): boolean {
  return (
    opcode === OPCODE.controlV1 ||
    opcode === OPCODE.ackV1 ||
    opcode === OPCODE.softResetV1 ||
    opcode === OPCODE.controlWkcV1
  )
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('hex')
}
