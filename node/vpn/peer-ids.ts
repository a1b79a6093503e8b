// Peer ids: 24 bits that name a session or a backbone link in data packets. A late packet of one that is over must not
// reach the next, so an id rests before it is given out again.

/** A range of ids, both ends included. */
export interface PeerIdRange {
  readonly first: number
  readonly last: number
}

/** Ids of clients' sessions. */
export const SESSION_IDS: PeerIdRange = { first: 0, last: 0xefffff }
/** Ids of backbone links; the one above means "none" on the wire. */
export const LINK_IDS: PeerIdRange = { first: 0xf00000, last: 0xfffffe }

const REST_MS = 60_000

/** Whether an id is a backbone link's. */
export function isLinkId(peerId: number): boolean {
  return peerId >= LINK_IDS.first && peerId <= LINK_IDS.last
}

export class PeerIds {
  readonly #range: PeerIdRange
  #next: number
  readonly #resting = new Map<number, number>()

  /** Starts anywhere in the range. @param random makes that many random bytes @param range @default SESSION_IDS */
  constructor(random: (size: number) => Uint8Array, range: PeerIdRange = SESSION_IDS) {
    const [a, b, c] = random(3)
    this.#range = range
    this.#next = range.first + (((a << 16) | (b << 8) | c) % (range.last - range.first + 1))
  }

  /** @param now ms @param inUse ids that are in use, far fewer than there are ids */
  next(now: number, inUse: (peerId: number) => boolean): number {
    for (const [peerId, until] of this.#resting) {
      if (until > now) break
      this.#resting.delete(peerId)
    }
    for (;;) {
      const peerId = this.#next
      this.#next = peerId === this.#range.last ? this.#range.first : peerId + 1
      if (!inUse(peerId) && !this.#resting.has(peerId)) return peerId
    }
  }

  release(now: number, peerId: number): void {
    this.#resting.set(peerId, now + REST_MS)
  }
}
