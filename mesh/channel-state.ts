// What is known of the channel to one peer: when it was heard, and how long a word takes there and back.
import type { MeshTiming } from './core-types.ts'

/** ms that a removed controller is given to hear of it. */
const FAREWELL = 500

export class ChannelState {
  readonly protocol: number
  heardAt: number
  gossipAt: number
  comparedAt: number
  /** Round trip of the last heartbeat, ms. */
  rtt = 0
  /** Of the peer's last heartbeat: what it said its clock was, and when it came. */
  #sent = 0
  #sentAt: number
  #removeAt = Number.POSITIVE_INFINITY

  /** @param protocol the version that is spoken on it */
  constructor(now: number, protocol: number) {
    this.protocol = protocol
    this.heardAt = now
    this.gossipAt = now
    this.comparedAt = now
    this.#sentAt = now
  }

  /** What goes back with a heartbeat, for the peer to tell the round trip. */
  echo(now: number): { echo: number; held: number } {
    return { echo: this.#sent, held: Math.max(0, now - this.#sentAt) }
  }

  heartbeat(frame: { sent: number; echo: number; held: number }, now: number): void {
    this.#sent = frame.sent
    this.#sentAt = now
    if (frame.echo > 0) this.rtt = Math.max(0, now - frame.echo - frame.held)
  }

  /** The peer was removed from the mesh: it goes once it had time to hear so. False when that is known already. */
  remove(now: number): boolean {
    if (this.#removeAt !== Number.POSITIVE_INFINITY) return false
    this.#removeAt = now + FAREWELL
    return true
  }

  isToGo(now: number): boolean {
    return now >= this.#removeAt
  }

  /** Why the channel is of no more use, in words; undefined when it is. */
  silence(now: number, timing: MeshTiming): string | undefined {
    if (now - this.heardAt > timing.silence) return 'it fell silent'
    return now - this.gossipAt > timing.gossipSilence ? 'its gossip stopped' : undefined
  }

  /** The clock was set: what was measured with the old one is void. */
  clockSet(now: number): void {
    this.heardAt = now
    this.gossipAt = now
    this.comparedAt = now
    this.#sent = 0
    this.#sentAt = now
    if (this.#removeAt !== Number.POSITIVE_INFINITY) this.#removeAt = now
  }
}
