// What the mesh's core is given, and what it tells.
import type { KeyObject } from 'node:crypto'
import type { ControllerId } from '../state/kinds.ts'
import type { Replica } from '../state/replica.ts'
import type { Views } from '../state/views.ts'
import type { PresentFacts } from './presence-types.ts'
import type { Transport } from './transport.ts'

/** All in ms. */
export interface MeshTiming {
  /** Between two heartbeats to each peer, in a small mesh. */
  readonly heartbeat: number
  /** Without a frame from a peer, after which its channel is closed and dialled anew. */
  readonly silence: number
  /** Without gossip from a peer whose channel lives, likewise. */
  readonly gossipSilence: number
  /** Between two comparisons with a peer chosen at random. */
  readonly antiEntropy: number
  /** Between two comparisons with a peer that is known to differ. */
  readonly unequal: number
  /** Between two tellings of one's facts, in a small mesh. */
  readonly presence: number
}

/** ms for each peer between two tellings of one's facts, and at most: one that is lost must not look like silence. */
const PRESENCE_SHARE = 200
const MOST_PRESENCE = 7000
/** ms for each peer between two heartbeats, and at most: `silence` spans two of them. */
const HEARTBEAT_SHARE = 20
const MOST_HEARTBEAT = 1000

/** ms between two tellings of one's facts: everyone hears everyone, so that each says less where there are many. */
export function presenceInterval({ presence }: MeshTiming, peers: number): number {
  return Math.max(presence, Math.min(MOST_PRESENCE, PRESENCE_SHARE * peers))
}

/** ms between two heartbeats to each peer: backbone probes notice the dead sooner, wherever there are many. */
export function heartbeatInterval({ heartbeat }: MeshTiming, peers: number): number {
  return Math.max(heartbeat, Math.min(MOST_HEARTBEAT, HEARTBEAT_SHARE * peers))
}

export const MESH_TIMING: MeshTiming = {
  heartbeat: 500,
  silence: 2500,
  gossipSilence: 15_000,
  antiEntropy: 3000,
  unequal: 1000,
  presence: 2000,
}

export interface MeshCoreInit {
  readonly id: ControllerId
  /** Ed25519, the controller's identity. */
  readonly privateKey: KeyObject
  readonly replica: Replica
  readonly views: Views
  readonly transport: Transport
  /** ms since 1970; may be set back or forward at any time. */
  readonly now: () => number
  readonly random: (size: number) => Uint8Array
  /** When this process started, ms since 1970: presence told by an earlier one is void. */
  readonly boot: number
  readonly facts: () => PresentFacts
  /** Whether the backbone leads to a controller, beside the channels that the core knows of itself. */
  readonly reaches: (id: ControllerId) => boolean
  /** Peers up to which what is new goes straight to each: see fan-out.ts. */
  readonly few?: number
  readonly timing?: Partial<MeshTiming>
}

/** One admitted controller as this one sees it. */
export interface PeerState {
  readonly id: ControllerId
  readonly connected: boolean
  /** Version of the protocol that is spoken with it; 0 while it is not connected. */
  readonly protocol: number
  /** Round trip of the last heartbeat, ms. */
  readonly rttMs: number
  readonly stateHash: string
  readonly records: number
  /** Records of this replica that the peer is not known to have. */
  readonly behind: number
}

export type MeshEvent =
  | { type: 'refused'; peer: ControllerId | undefined; reason: string }
  | { type: 'held'; peer: ControllerId | undefined; reason: string }
  | { type: 'watchdog'; peer: ControllerId; reason: string }

export interface MeshCounters {
  badFrames: number
  /** Of types that only newer versions know. */
  unknownFrames: number
  badSignatures: number
  refusedRecords: number
  heldRecords: number
  droppedWork: number
  unknownSenders: number
}
