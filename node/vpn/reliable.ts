// Reliable, ordered delivery of control payloads over UDP: numbered messages, individual acknowledgements.
// Source: OpenVPN src/openvpn/reliable.c. Each key id has its own pair, numbered from 0.

/** Messages in flight at most: the window of 2.6, and less than every receiver's (8 in 2.4, 2.5 and OpenVPN 3). */
export const SEND_WINDOW = 6
/** Messages held until the ones before them come, as in 2.6. */
export const RECEIVE_WINDOW = 12
/** Bytes queued or in flight at most, each message counted with {@link MESSAGE_COST}. */
export const MAX_QUEUED_BYTES = 65_536
/** What a message counts beside its payload, so that empty ones are bounded too. */
const MESSAGE_COST = 32
const FIRST_RETRANSMIT_MS = 2000
/** For who will not be there much longer. */
const HURRIED_RETRANSMIT_MS = 150
/** A path that loses much is still tried often enough to get through a handshake in time. */
const MAX_RETRANSMIT_MS = 4000
/** A message is sent again once so many later ones were acknowledged. */
const FAST_RESEND_ACKS = 3
/** Acknowledgements remembered and repeated, most recent first. */
const RECENT_ACKS = 8
/** Acknowledgements waiting for a packet to travel in, at most. */
const MAX_OWED_ACKS = 48

export interface Outgoing {
  messageId: number
  opcode: number
  payload: Uint8Array
}

interface InFlight extends Outgoing {
  /** ms */
  due: number
  interval: number
  acksAfter: number
}

/** The sending half. Times are in ms. */
export class ReliableSender {
  #next: number
  #queued: Omit<Outgoing, 'messageId'>[] = []
  #queuedBytes = 0
  #flight: InFlight[] = []
  #firstRetransmit = FIRST_RETRANSMIT_MS

  /** @param next id of the first message */
  constructor(next = 0) {
    this.#next = next
  }

  /** False, with nothing queued, when {@link MAX_QUEUED_BYTES} would be passed: the peer does not keep up. */
  push(opcode: number, payload: Uint8Array): boolean {
    const cost = payload.length + MESSAGE_COST
    if (this.#queuedBytes + cost > MAX_QUEUED_BYTES) return false
    this.#queued.push({ opcode, payload })
    this.#queuedBytes += cost
    return true
  }

  /** Bytes not acknowledged yet, counted as for {@link MAX_QUEUED_BYTES}. */
  get queuedBytes(): number {
    return this.#queuedBytes
  }

  /** What is pushed from now on is sent again sooner. */
  hurry(): void {
    this.#firstRetransmit = HURRIED_RETRANSMIT_MS
  }

  /** The messages to be sent now, first time or again; each is then taken as sent. */
  take(now: number): Outgoing[] {
    const out: Outgoing[] = []
    for (const message of this.#flight) {
      if (message.due > now && message.acksAfter < FAST_RESEND_ACKS) continue
      if (message.due <= now) message.interval = Math.min(message.interval * 2, MAX_RETRANSMIT_MS)
      message.acksAfter = 0
      message.due = now + message.interval
      out.push(message)
    }
    while (this.#queued.length > 0 && this.#windowOpen()) {
      const next = this.#queued.shift()!
      const message: InFlight = {
        ...next,
        messageId: this.#next++,
        due: now + this.#firstRetransmit,
        interval: this.#firstRetransmit,
        acksAfter: 0,
      }
      this.#flight.push(message)
      out.push(message)
    }
    return out
  }

  /** Unknown ids are ignored. */
  acknowledge(messageId: number): void {
    const at = this.#flight.findIndex(message => message.messageId === messageId)
    if (at < 0) return
    const [done] = this.#flight.splice(at, 1)
    this.#queuedBytes -= done.payload.length + MESSAGE_COST
    for (const message of this.#flight) if (message.messageId < messageId) message.acksAfter++
  }

  /** Nothing of what was pushed is sent again: the peer waits in vain for what it has not got, and for all behind it. */
  forget(): void {
    this.#queued = []
    this.#flight = []
    this.#queuedBytes = 0
  }

  /** When `take` has something to do next: ms, Infinity when only an acknowledgement can change that. */
  deadline(now: number): number {
    if (this.#queued.length > 0 && this.#windowOpen()) return now
    let due = Number.POSITIVE_INFINITY
    for (const message of this.#flight) {
      due = Math.min(due, message.acksAfter >= FAST_RESEND_ACKS ? now : message.due)
    }
    return due
  }

  /** True when everything pushed was acknowledged. */
  get idle(): boolean {
    return this.#flight.length === 0 && this.#queued.length === 0
  }

  /** Not further ahead than the peer's window, counted from its oldest gap, and so never over {@link SEND_WINDOW}. */
  #windowOpen(): boolean {
    return this.#flight.length === 0 || this.#next - this.#flight[0].messageId < SEND_WINDOW
  }
}

/** The receiving half. */
export class ReliableReceiver {
  #expected: number
  #held = new Map<number, Uint8Array>()
  /** Acknowledgements not sent yet. */
  readonly #owed: number[] = []
  readonly #recent = new RecentAcks()

  /** @param expected id of the first message */
  constructor(expected = 0) {
    this.#expected = expected
  }

  /**
   * Takes one message: the payloads now in order, at most {@link RECEIVE_WINDOW}. What is too far ahead is dropped
   * without an acknowledgement, duplicates are acknowledged again. The caller must not reuse the payload's memory.
   */
  receive(messageId: number, payload: Uint8Array): Uint8Array[] {
    if (messageId >= this.#expected + RECEIVE_WINDOW) return []
    this.#owe(messageId)
    if (messageId < this.#expected || this.#held.has(messageId)) return []
    this.#held.set(messageId, payload)
    const ready: Uint8Array[] = []
    for (let next = this.#held.get(this.#expected); next; next = this.#held.get(this.#expected)) {
      this.#held.delete(this.#expected++)
      ready.push(next)
    }
    return ready
  }

  get owesAcks(): boolean {
    return this.#owed.length > 0
  }

  /**
   * Acknowledgements for one packet: those owed first, then recent ones repeated in case a packet was lost.
   * @param most 4 beside a message, 8 alone
   */
  takeAcks(most: number): number[] {
    const acks = this.#owed.splice(0, most)
    this.#recent.remember(acks)
    for (const ack of this.#recent.ids) {
      if (acks.length >= most) break
      if (!acks.includes(ack)) acks.push(ack)
    }
    return acks
  }

  /** Past the bound a peer repeats itself faster than it is answered, and will do so again. */
  #owe(messageId: number): void {
    if (this.#owed.length < MAX_OWED_ACKS && !this.#owed.includes(messageId)) this.#owed.push(messageId)
  }
}

/** The acknowledgements sent last, most recent first, each once. */
export class RecentAcks {
  #ids: number[] = []

  get ids(): readonly number[] {
    return this.#ids
  }

  /** @param acks as they stand in the packet: the first counts as the most recent */
  remember(acks: readonly number[]): void {
    this.#ids = [...new Set([...acks, ...this.#ids])].slice(0, RECENT_ACKS)
  }
}
