// The keys of a session, at either end: the one data is sent under, the one before it, and the one under negotiation. Each
// has a control channel of its own. Source: OpenVPN src/openvpn/ssl.c, key_state_soft_reset and tls_process.
import type { ControlChannel } from './control-channel.ts'
import { Negotiation } from './negotiation.ts'
import { OPCODE } from './packet.ts'

/** ms after which the peer, having acknowledged our half of a new key, is sent data under it. */
const KEY_SETTLE_MS = 2000
/** ms for which the control channel of a key outlives the switch to the next one. */
const OLD_CHANNEL_MS = 10_000
/** ms between the starts of two negotiations at the least; a peer that wants them faster waits. */
const MIN_INTERVAL_MS = 1000

export interface KeyRingInit {
  now(): number
  /** ms a renegotiation may take. */
  handshakeMs: number
  /** @param key gives the negotiation once the channel has something to report */
  open(keyId: number, firstMessage: 0 | 1, key: () => Negotiation): ControlChannel
  /** Data is to be sent under this key from now on. */
  use(keyId: number): void
  /** Data under this key is not taken any more. */
  drop(keyId: number): void
  /** A renegotiation came to nothing; the keys from before go on. */
  failed(): void
}

/** Key ids run from 0 to 7, and then from 1 again. */
export function nextKeyId(keyId: number): number {
  return keyId === 7 ? 1 : keyId + 1
}

export class KeyRing {
  readonly #init: KeyRingInit
  /** Oldest first, three at most. */
  #keys: Negotiation[] = []
  #current: Negotiation | undefined
  #begunAt = Number.NEGATIVE_INFINITY
  #switchedAt = Number.POSITIVE_INFINITY

  constructor(init: KeyRingInit) {
    this.#init = init
  }

  /** The key that data is sent under; undefined until the first is agreed on. */
  get current(): Negotiation | undefined {
    return this.#current
  }

  /** The renegotiation that is not through yet; the first negotiation is none. */
  get underway(): Negotiation | undefined {
    const newest = this.#keys.at(-1)
    return this.#current && newest !== this.#current && !newest?.exchanged ? newest : undefined
  }

  /** What control messages go through: stock peers read those of their newest key only. */
  get speaker(): Negotiation | undefined {
    return this.#keys.findLast(key => key.exchanged) ?? this.#keys.at(-1)
  }

  find(keyId: number): Negotiation | undefined {
    return this.#keys.find(key => key.keyId === keyId)
  }

  /** @param firstMessage 1 when resets were exchanged outside of the channel */
  begin(keyId: number, firstMessage: 0 | 1): Negotiation {
    const channel = this.#init.open(keyId, firstMessage, () => key)
    const key = new Negotiation(channel, this.#init.now())
    this.#keys.push(key)
    this.#begunAt = key.startedAt
    return key
  }

  /** The first key is agreed on. */
  establish(key: Negotiation): void {
    this.#current = key
  }

  /** Our own wish for a fresh key; nothing when one is on its way. */
  renegotiate(): Negotiation | undefined {
    const newest = this.#keys.at(-1)
    if (!this.#current || !newest?.exchanged) return undefined
    if (newest !== this.#current) {
      // Not before the peer has it, however urgent the wish is.
      if (newest.confirmedAt !== undefined) this.switchTo(newest)
      return undefined
    }
    return this.#restart(nextKeyId(newest.keyId))
  }

  /** The peer's wish, by a soft reset with a key id that is not known; undefined when that is not the next one. */
  answer(keyId: number): Negotiation | 'too-soon' | undefined {
    const newest = this.#keys.at(-1)
    if (!this.#current || !newest?.exchanged || keyId !== nextKeyId(newest.keyId)) return undefined
    if (this.#init.now() - this.#begunAt < MIN_INTERVAL_MS) return 'too-soon'
    // Whoever asks for the next key has the newest.
    if (newest !== this.#current) this.switchTo(newest)
    return this.#restart(keyId)
  }

  /** Data goes out under the new key. Packets under the previous one are still taken, older ones no more. */
  switchTo(key: Negotiation): void {
    const previous = this.#current
    this.#current = key
    this.#switchedAt = this.#init.now()
    this.#init.use(key.keyId)
    for (const old of this.#keys) if (old !== key && old !== previous) this.#drop(old)
    this.#keys = this.#keys.filter(kept => kept === key || kept === previous)
  }

  /** Gives up a renegotiation. */
  abandon(key: Negotiation): void {
    this.#keys = this.#keys.filter(kept => kept !== key)
    this.#drop(key)
    this.#init.failed()
  }

  /** What follows are the last messages: see `ControlChannel`. */
  hurry(): void {
    for (const key of this.#keys) key.channel.hurry()
  }

  /** The updates that the peer may not have heard, in order; what they were said by says them no more. */
  takeUpdates(): string[] {
    return this.#keys.flatMap(key => key.takeUpdates())
  }

  poll(now: number): void {
    for (const key of this.#keys) if (key.channel.deadline() <= now) key.channel.flush()
    const newest = this.#keys.at(-1)
    if (!this.#current || !newest) return
    if (newest !== this.#current) {
      if (!newest.exchanged && now >= newest.startedAt + this.#init.handshakeMs) this.abandon(newest)
      else if (now >= settledAt(newest)) this.switchTo(newest)
    }
    if (now >= this.#switchedAt + OLD_CHANNEL_MS) {
      this.#switchedAt = Number.POSITIVE_INFINITY
      for (const key of this.#keys.slice(0, this.#keys.indexOf(this.#current))) key.channel.close()
    }
  }

  /** ms */
  deadline(): number {
    let next = this.#switchedAt + OLD_CHANNEL_MS
    for (const key of this.#keys) next = Math.min(next, key.channel.deadline())
    const newest = this.#keys.at(-1)
    if (!this.#current || !newest || newest === this.#current) return next
    return Math.min(next, newest.exchanged ? settledAt(newest) : newest.startedAt + this.#init.handshakeMs)
  }

  close(): void {
    for (const key of this.#keys) key.channel.close()
    this.#keys = []
  }

  #restart(keyId: number): Negotiation {
    const key = this.begin(keyId, 0)
    key.channel.sendReset(OPCODE.softResetV1)
    key.channel.startTls()
    return key
  }

  #drop(key: Negotiation): void {
    key.channel.close()
    this.#init.drop(key.keyId)
  }
}

function settledAt(key: Negotiation): number {
  return (key.confirmedAt ?? Number.POSITIVE_INFINITY) + KEY_SETTLE_MS
}
