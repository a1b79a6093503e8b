// What a session says to its client.
import { authFailedMessage, haltMessage, restartMessage } from './control-message.ts'
import { IV_PROTO } from './peer-info.ts'
import type { SessionEnd } from './session-host.ts'

/** Seconds after which a client that is refused for now tries again. */
const BACKOFF_SECONDS = 10

/** The control message that ends a session; undefined when none does. @param proto IV_PROTO of the client */
export function lastMessage(end: SessionEnd, proto: number): string | undefined {
  switch (end.kind) {
    case 'auth-failed': {
      const canWait = end.temporary && (proto & IV_PROTO.authFailedTemp) !== 0
      return authFailedMessage(end.reason, canWait ? { backoffSeconds: BACKOFF_SECONDS } : undefined)
    }
    case 'restart':
      return restartMessage(end.target, end.reason)
    case 'halt':
      return haltMessage(end.reason)
    case 'silent':
      return undefined
  }
}

/**
 * Our options string. A client compares it with its own and warns of differences: its own, seen from the other end, gives
 * no cause. It must not be empty, nor longer than 512 bytes.
 */
export function mirroredOptions(options: string): string {
  const printable = /^[\x20-\x7e]{1,500}$/.test(options) ? options : 'V4,dev-type tun,key-method 2,tls-client'
  return printable.replace('tls-client', 'tls-server')
}
