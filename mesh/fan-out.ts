// How what is new reaches all: straight to each where they are few and all are heard, since gossip brings it several times to
// each; by gossip, over others, where they are many or some are out of hearing.
import type { ControllerId } from '../state/kinds.ts'
import { encodeFrame, type Frame } from './messages.ts'
import { MAX_GOSSIP_BYTES, type Transport } from './transport.ts'

/** Peers up to which what is new goes straight to each. */
export const FEW = 20

export interface FanOutInit {
  readonly transport: Transport
  /** @default FEW */
  readonly few: number | undefined
  /** ms since 1970 */
  readonly now: () => number
  /** ms within which a peer must have been heard for its channel to be trusted. */
  readonly attention: number
  /** Admitted controllers but this one. */
  readonly others: () => Iterable<ControllerId>
  /** Peers with a channel, and when each was last heard. */
  readonly peers: ReadonlyMap<ControllerId, { readonly heardAt: number }>
}

export class FanOut {
  readonly #init: FanOutInit

  constructor(init: FanOutInit) {
    this.#init = init
  }

  /** Tells all what is new. */
  publish(frame: Frame): void {
    const heard = this.#heard()
    if (heard === undefined) {
      this.gossip(frame)
      return
    }
    const bytes = encodeFrame(frame)
    for (const peer of heard) this.#init.transport.send(peer, bytes)
  }

  /** Tells all by gossip, unless it is too long for that. */
  gossip(frame: Frame): void {
    const { transport, peers } = this.#init
    const bytes = encodeFrame(frame)
    if (bytes.length <= MAX_GOSSIP_BYTES) transport.publish(bytes)
    else for (const peer of peers.keys()) transport.send(peer, bytes)
  }

  /** The others, if they are few and all are heard. */
  #heard(): ControllerId[] | undefined {
    const { peers, few = FEW, now, attention, others } = this.#init
    if (peers.size > few) return undefined
    const earliest = now() - attention
    const heard: ControllerId[] = []
    for (const id of others()) {
      const peer = peers.get(id)
      if (peer === undefined || peer.heardAt < earliest) return undefined
      heard.push(id)
    }
    return heard
  }
}
