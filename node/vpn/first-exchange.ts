// The first three packets of a session, without memory: the client's reset is answered with a cookie, and only a third
// packet that brings the cookie back makes a session. Source: OpenVPN src/openvpn/mudp.c, ssl_pkt.c.
import { type Path, pathKey } from '../switch/path.ts'
import { type ControlPacket, ControlWrap, unwrapAlone } from './control-wrap.ts'
import { mayOpenSession, SessionCookie } from './cookie.ts'
import { encodeControlBody, encodeHeader, HEADER_LENGTH, OPCODE, opcodeOf } from './packet.ts'
import { EARLY_NEGOTIATION_START, WrapPacketIdSender } from './packet-id.ts'
import { RememberedKeys } from './remembered-keys.ts'
import { TlsCrypt } from './tls-crypt.ts'
import { splitWkc, TlsCryptV2Server } from './tls-crypt-v2.ts'
import { TokenBucket } from './token-bucket.ts'
import type { MakeWrapKeys } from './wrap-keys.ts'

/** What the first packets of strangers may come to, beside an answer. */
export type FirstExchangeCounter =
  | 'resets'
  | 'resetsLimited'
  | 'resetsReplayed'
  | 'openingsLimited'
  | 'controlForged'
  | 'controlUnexpected'
  | 'clientKeyForged'
  | 'clientKeyRefused'
  | 'cookieInvalid'

export interface FirstExchangeInit {
  /** tls-crypt-v2 server key, 128 bytes. */
  serverKey: Uint8Array
  wrapKeys: MakeWrapKeys
  /** ms for which a cookie is good, at the least. */
  handshakeMs: number
  resetsPerSecond: number
  acceptClientKey?: (metadata: Uint8Array) => boolean
  /** Whether a session with the client's session id lives. */
  isKnown(sid: Uint8Array): boolean
  now(): number
  random(size: number): Uint8Array
  count(counter: FirstExchangeCounter): void
}

/** Who has shown that it receives our answers, and with what. */
export interface Newcomer {
  clientSid: Uint8Array
  serverSid: Uint8Array
  clientKey: Uint8Array
  /** What the packet was unwrapped with. */
  wrap: ControlWrap
  packet: ControlPacket
}

/**
 * Packets of strangers that are looked at a second, resets and third packets each: what one costs is a few HMACs. Answers
 * have a limit of their own, so that forged packets do not use them up.
 */
const CHECKS_PER_SECOND = 20_000
/** Type 1, length 2, value 1: "send your wrapped key again". Source: OpenVPN ssl_pkt.h, EARLY_NEG_FLAGS. */
const RESEND_KEY = Uint8Array.of(0, 1, 0, 2, 0, 1)
const NOTHING = new Uint8Array(0)
/** Packet id of the stateless answer; the session goes on behind it. */
const ANSWER_ID = 1

export class FirstExchange {
  readonly #init: FirstExchangeInit
  readonly #keys: TlsCryptV2Server
  readonly #cookie: SessionCookie
  readonly #remembered: RememberedKeys
  readonly #resetChecks: TokenBucket
  readonly #openingChecks: TokenBucket
  readonly #answers: TokenBucket

  constructor(init: FirstExchangeInit) {
    this.#init = init
    this.#keys = new TlsCryptV2Server(init.serverKey, init.wrapKeys)
    this.#cookie = new SessionCookie(init.random(32), init.handshakeMs / 1000, init.wrapKeys)
    this.#remembered = new RememberedKeys(init.handshakeMs)
    const now = init.now()
    this.#resetChecks = new TokenBucket(CHECKS_PER_SECOND, now)
    this.#openingChecks = new TokenBucket(CHECKS_PER_SECOND, now)
    this.#answers = new TokenBucket(init.resetsPerSecond, now)
  }

  /** The answer to a HARD_RESET_CLIENT_V3, if it gets one. */
  answer(path: Path, packet: Uint8Array): Uint8Array | undefined {
    const { now, count, isKnown } = this.#init
    const at = now()
    if (!this.#resetChecks.take(at)) return this.#drop('resetsLimited')
    const split = splitWkc(packet)
    const clientKey = this.#clientKey(split?.wkc)
    if (!split || !clientKey) return undefined
    const crypt = new TlsCrypt(clientKey, 'server', this.#init.wrapKeys)
    const reset = unwrapAlone(crypt, split.packet)
    if (reset?.keyId !== 0 || reset.body.messageId !== 0) return this.#drop('controlForged')
    // A client that starts anew takes a new session id. An answer to an old packet that somebody sends again would make a
    // stock client believe that its controller has restarted.
    if (isKnown(reset.sid)) return this.#drop('resetsReplayed')
    if (!this.#answers.take(at)) return this.#drop('resetsLimited')
    count('resets')
    const early = (reset.counter & 0xff000000) === EARLY_NEGOTIATION_START
    if (!early) this.#remembered.put(at, nameOf(path, reset.sid), clientKey)
    const serverSid = this.#cookie.make(at, pathKey(path), reset.sid)
    const body = encodeControlBody(OPCODE.hardResetServerV2, {
      acks: [0],
      remoteSid: reset.sid,
      messageId: 0,
      payload: early ? RESEND_KEY : NOTHING,
    })
    const header = encodeHeader(OPCODE.hardResetServerV2, 0, serverSid)
    return crypt.wrap(header, new WrapPacketIdSender(Math.floor(at / 1000), ANSWER_ID).next(), body)
  }

  /** Reads the packet that follows our answer; undefined when it proves nothing. */
  open(path: Path, packet: Uint8Array): Newcomer | undefined {
    const now = this.#init.now()
    const sid = packet.subarray(1, HEADER_LENGTH)
    const resent = opcodeOf(packet[0]) === OPCODE.controlWkcV1
    if (resent && !this.#openingChecks.take(now)) return this.#drop('openingsLimited')
    const split = resent ? splitWkc(packet) : { packet, wkc: undefined }
    const clientKey = resent ? this.#clientKey(split?.wkc) : this.#remembered.get(now, nameOf(path, sid))
    if (!split || !clientKey) {
      if (!resent) this.#drop(this.#init.isKnown(sid) ? 'controlForged' : 'controlUnexpected')
      return undefined
    }
    const wrap = new ControlWrap(new TlsCrypt(clientKey, 'server', this.#init.wrapKeys), now, ANSWER_ID + 1)
    const third = wrap.unwrap(split.packet)
    if (!third || third === 'replay') return this.#drop('controlForged')
    const { remoteSid } = third.body
    const plausible = mayOpenSession(third.opcode, third.keyId, third.body)
    if (!plausible || !remoteSid || !this.#cookie.check(now, pathKey(path), sid, remoteSid)) {
      return this.#drop('cookieInvalid')
    }
    return {
      clientSid: Uint8Array.from(sid),
      serverSid: Uint8Array.from(remoteSid),
      clientKey: Uint8Array.from(clientKey),
      wrap,
      packet: third,
    }
  }

  /** The key in a wrapped client key, if that is ours and accepted. */
  #clientKey(wkc: Uint8Array | undefined): Uint8Array | undefined {
    const client = wkc && this.#keys.unwrapClientKey(wkc)
    if (!client) return this.#drop('clientKeyForged')
    if (this.#init.acceptClientKey?.(client.metadata) === false) return this.#drop('clientKeyRefused')
    return client.kc
  }

  #drop(counter: FirstExchangeCounter): undefined {
    this.#init.count(counter)
    return undefined
  }
}

function nameOf(path: Path, sid: Uint8Array): string {
  return `${pathKey(path)}|${Buffer.from(sid).toString('hex')}`
}
