// Peer ids: 24 bits that name a session in data packets. A late packet of a session that is over must not reach the
// next one, so an id rests before it is given out again.

const PEER_IDS = 0xffffff
const REST_MS = 60_000

export class PeerIds {
  #next: number
  readonly #resting = new Map<number, number>()

  constructor(random: (size: number) => Uint8Array) {
    const [a, b, c] = random(3)
    this.#next = ((a << 16) | (b << 8) | c) % PEER_IDS
  }

  /** @param now ms @param inUse ids of live sessions, far fewer than there are ids */
  next(now: number, inUse: (peerId: number) => boolean): number {
    for (const [peerId, until] of this.#resting) {
      if (until > now) break
      this.#resting.delete(peerId)
    }
    for (;;) {
      const peerId = this.#next
      this.#next = (this.#next + 1) % PEER_IDS
      if (!inUse(peerId) && !this.#resting.has(peerId)) return peerId
    }
  }

  release(now: number, peerId: number): void {
    this.#resting.set(peerId, now + REST_MS)
  }
}
