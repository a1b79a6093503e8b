// What a session says to its client.
import { authFailedMessage, haltMessage, restartMessage } from './control-message.ts'
import { IV_PROTO, type PeerInfo } from './peer-info.ts'
import type { SessionEnd } from './session-host.ts'

/** Seconds after which a client that is refused for now tries again. */
const BACKOFF_SECONDS = 10

/** IV_VER; packages of 3.10 have the v. */
const OPENVPN_3 = /^v?3\./

/** The control message that ends a session; undefined when none does. */
export function lastMessage(
  end: SessionEnd,
  { proto, version }: Pick<PeerInfo, 'proto' | 'version'>,
): string | undefined {
  const takesTemporary = (proto & IV_PROTO.authFailedTemp) !== 0
  switch (end.kind) {
    case 'auth-failed': {
      const canWait = end.temporary && takesTemporary
      return authFailedMessage(end.reason, canWait ? { backoffSeconds: BACKOFF_SECONDS } : undefined)
    }
    case 'restart': {
      // After RESTART, OpenVPN 3 waits 5 s, and 2 s after a backoff of 0. It tries the same one first, whatever it was told.
      if (takesTemporary && OPENVPN_3.test(version)) {
        const advance = end.target === 'next' ? 'remote' : 'no'
        return authFailedMessage(end.reason ?? 'connect anew', { backoffSeconds: 1, advance })
      }
      return restartMessage(end.target, end.reason)
    }
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
