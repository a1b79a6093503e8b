// What a session and the endpoint that holds it want of each other.
import type { Cidr, OverlayAddress } from '../../state/address.ts'
import type { Cidr6 } from '../../state/address6.ts'
import type { RestartTarget } from './control-message.ts'
import type { DataCipher } from './data-keys.ts'
import type { DataPlane } from './data-plane.ts'
import type { ServerSession } from './session.ts'
import type { PeerIdentity, TlsChannel, TlsHandlers } from './tls.ts'
import type { MakeWrapKeys } from './wrap-keys.ts'

export interface Applicant extends PeerIdentity {
  /** Address and port. */
  remote: string
}

export type Verdict =
  | {
      ok: true
      client: string
      name: string
      address: OverlayAddress
      subnets: readonly Cidr[]
      subnets6?: readonly Cidr6[]
    }
  /** `temporary`: the client may try again by itself. */
  | { ok: false; reason: string; temporary?: boolean }

export type SessionEnd =
  | { kind: 'auth-failed'; reason: string; temporary?: boolean }
  | { kind: 'restart'; target: RestartTarget; reason?: string }
  | { kind: 'halt'; reason?: string }
  /** The peer is gone or replaced: nothing is sent. */
  | { kind: 'silent' }

/** Durations are in ms. */
export interface SessionSettings {
  /** In order of preference. */
  ciphers: readonly DataCipher[]
  handshakeMs: number
  /** At most; up to a tenth less, so that clients that came together do not renegotiate together. */
  renegotiationMs: number
  pingSeconds: number
  timeoutSeconds: number
  mtu: number
}

export type SessionCounter =
  | 'controlReplayed'
  | 'controlUnknownKey'
  | 'controlMalformed'
  | 'internalErrors'
  | 'renegotiationTooSoon'
  | 'renegotiations'
  | 'renegotiationsFailed'
  | 'pushUpdates'

/** What a session asks of the endpoint. */
export interface SessionHost {
  readonly settings: SessionSettings
  readonly plane: DataPlane
  /** ms of a clock that nobody sets. */
  now(): number
  /** ms since 1970, for what people are shown. */
  date(): number
  random(size: number): Uint8Array
  tls(handlers: TlsHandlers): TlsChannel
  wrapKeys: MakeWrapKeys
  admit(applicant: Applicant): Verdict
  /** The options about the network; those about the session itself are added here. */
  push(session: ServerSession): string[]
  /** Before data flows: gives the session its peer id, or refuses with a reason. */
  opening(session: ServerSession): number | { refused: string }
  /** Its client is told that it is connected once the session is `reachable`. */
  opened(session: ServerSession): void
  /** Once for each session that was opened. */
  ended(session: ServerSession, reason: string): void
  /** Once for each that was not. */
  refused(session: ServerSession, reason: string): void
  /** The session's deadline may have moved. */
  stirred(session: ServerSession): void
  count(counter: SessionCounter): void
}
