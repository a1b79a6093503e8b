// How a client's connection can come to its end, and the errors that callers see.
import type { RestartTarget, TemporaryFailure } from './control-message.ts'

export type ClientEnd =
  /** The server's refusal, at the start or later. */
  | { kind: 'auth-failed'; reason: string; temporary?: TemporaryFailure }
  | { kind: 'restart'; target: RestartTarget; reason: string }
  | { kind: 'halt'; reason: string }
  /** The server left. */
  | { kind: 'exit' }
  /** Nothing came for the first packet. */
  | { kind: 'no-answer' }
  /** The handshake was begun and not finished in time. */
  | { kind: 'handshake-timeout' }
  /** Nothing came for too long while the connection was up. */
  | { kind: 'silence' }
  /** TLS failed: mostly a certificate, ours or the server's. */
  | { kind: 'tls'; reason: string }
  /** The server says what cannot be. */
  | { kind: 'protocol'; reason: string }

/** In words that stand behind "connection to …: ". */
export function describeEnd(end: ClientEnd): string {
  switch (end.kind) {
    case 'auth-failed':
      return end.reason ? `refused: ${end.reason}` : 'refused'
    case 'restart':
      return end.target === 'next' ? 'it sends us to the next controller' : 'it asks us to connect again'
    case 'halt':
      return end.reason ? `it ended the connection: ${end.reason}` : 'it ended the connection'
    case 'exit':
      return 'it left'
    case 'no-answer':
      return 'no answer'
    case 'handshake-timeout':
      return 'the handshake was not finished in time'
    case 'silence':
      return 'it fell silent'
    case 'tls':
      return `TLS failed: ${end.reason}`
    case 'protocol':
      return end.reason
  }
}

export type ClientErrorCode = 'AUTH_FAILED' | 'HALTED' | 'TIMEOUT' | 'FAILED' | 'CLOSED'

/** What a caller of a client gets to see. */
export class ClientError extends Error {
  readonly code: ClientErrorCode
  /** The server's own words, if it gave any. */
  readonly reason: string

  constructor(code: ClientErrorCode, message: string, reason = '') {
    super(message)
    this.name = 'ClientError'
    this.code = code
    this.reason = reason
  }
}
