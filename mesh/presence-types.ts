// Who is connected where, now: what controllers tell each other and never write to disk.
import type { ClientId, ControllerId } from '../state/kinds.ts'

/** A client's live VPN session, as its controller tells it. */
export interface PresentSession {
  readonly client: ClientId
  /**
   * When the session was admitted, ms since 1970, made larger than that of any session of the client known then: the
   * newest wins everywhere.
   */
  readonly since: number
  /** Address and port the client sends from. */
  readonly remote: string
}

/** One end's view of a backbone link. */
export interface PresentLink {
  readonly peer: ControllerId
  readonly up: boolean
  /** Milliseconds. */
  readonly rtt: number
  /** Percent of the latest probes. */
  readonly loss: number
}

/** An attachment that is up on a controller. */
export interface PresentAttachment {
  /** Of its record. */
  readonly id: string
  /** When it came up there, ms since 1970. */
  readonly since: number
  /** The site keeps several controllers connected, so that no other need end it. */
  readonly several: boolean
}

/** What a controller says of itself beside its sessions and links. */
export interface PresentFacts {
  /** Version of Overmesh. */
  readonly version: string
  readonly startedAt: number
  readonly draining: boolean
  /** It holds the key of the mesh root, so that controllers can join by it. */
  readonly holdsRootKey: boolean
  /** Its kernel forwards between the overlay and the networks that it reaches. */
  readonly gateway: boolean
  /** The same of IPv6. */
  readonly gateway6: boolean
  /** Its machine is seen to have a way of its own to the IPv4 Internet. */
  readonly exit4: boolean
  /** The same of IPv6: not all that have IPv6 do. */
  readonly exit6: boolean
  /** Ids of routes that lead here, or to a client here, whose probe gets no answer. */
  readonly failing: readonly string[]
  /** It can terminate attachments: its IKE daemon runs. */
  readonly ipsec: boolean
  /** What is up here. */
  readonly attachments: readonly PresentAttachment[]
  readonly stateHash: string
  readonly records: number
}
