// What the mesh's core needs of a network between controllers: libp2p is one (mesh/libp2p/), the simulator of the tests
// another.
import type { ControllerId } from '../state/kinds.ts'

/** Longest frame on a channel, bytes: a delta of records, or one record that is longer than that. */
export const MAX_FRAME_BYTES = 2 ** 21
/** Longest frame that is gossiped, bytes. */
export const MAX_GOSSIP_BYTES = 65_536 + 1024

export interface Transport {
  /**
   * Sends one frame on the channel to a peer: in order and whole, or not at all once the channel closes. False when
   * there is no channel or its queue is full.
   */
  send(peer: ControllerId, frame: Uint8Array): boolean
  /** Gossips one frame to all controllers, through others where need be. It may be lost, reordered or come twice. */
  publish(frame: Uint8Array): void
  /** Closes the channel, and all connections under it; the peer is dialled again when the state still admits it. */
  disconnect(peer: ControllerId, reason: string): void
}

/** What becomes of a gossiped frame: `reject` is for bytes that no honest controller sends, and punishes the sender. */
export type GossipVerdict = 'accept' | 'ignore' | 'reject'

/** What a transport calls. Frames are the callee's to keep. */
export interface TransportHandler {
  /**
   * A channel to an admitted, authenticated peer is open; at most one per peer at a time.
   * @param protocol the version of the protocol that is spoken on it
   */
  connected(peer: ControllerId, protocol: number): void
  disconnected(peer: ControllerId): void
  frame(peer: ControllerId, frame: Uint8Array): void
  gossip(frame: Uint8Array): GossipVerdict
}
