// What clients connect to at this controller: the VPN endpoint on its switch, as its configuration has it.
import type { ClientSessions } from './client-sessions.ts'
import type { Home } from './home.ts'
import { OVERLAY_MTU, PING_SECONDS, SESSION_TIMEOUT_SECONDS } from './push.ts'
import { pooledRandomBytes } from './random.ts'
import { steadyNow } from './steady-clock.ts'
import type { Switch } from './switch/switch.ts'
import { ControlKeys } from './switch/sys/control-keys.ts'
import { DATA_CIPHERS } from './vpn/data-keys.ts'
import { VpnEndpoint } from './vpn/endpoint.ts'
import type { TlsServer } from './vpn/tls.ts'

/** ms for which a handshake may take, and for which a cookie is good. */
const HANDSHAKE_MS = 60_000

export function openEndpoint(
  home: Home,
  network: Switch,
  tls: TlsServer,
  clients: ClientSessions,
): VpnEndpoint {
  return new VpnEndpoint({
    serverKey: home.tlsCryptKey,
    tls,
    wrapKeys: (cipher, hmac) => new ControlKeys(cipher, hmac),
    plane: network,
    settings: {
      ciphers: DATA_CIPHERS,
      handshakeMs: HANDSHAKE_MS,
      renegotiationMs: home.config.lifetimes.sessionKeys * 1000,
      pingSeconds: PING_SECONDS,
      timeoutSeconds: SESSION_TIMEOUT_SECONDS,
      mtu: OVERLAY_MTU,
    },
    admit: applicant => clients.admit(applicant),
    push: session => clients.push(session),
    opened: session => clients.opened(session),
    ended: (session, reason) => clients.ended(session, reason),
    refused: (session, reason) => clients.refused(session, reason),
    now: steadyNow,
    date: Date.now,
    random: pooledRandomBytes(),
  })
}
