// The prober's tunnel: a VPN client made from the text of a clientpack.
import { parseHostPort } from '../net/ip.ts'
import { DEFAULT_PROTO } from '../vpn/client.ts'
import { IV_PROTO } from '../vpn/peer-info.ts'
import { type ProfileRemote, parseProfile } from '../vpn/profile.ts'
import { routesOf } from '../vpn/pushed-options.ts'
import { address6Of, addressOf, type Connection, UdpClient } from '../vpn/udp-client.ts'
import type { Connection as Seen, Tunnel, TunnelEvents } from './prober.ts'

const DEFAULT_PORT = 1194

export interface TunnelInit {
  /** Text of an `.ovpn` file. */
  pack: string
  /** `HOST:PORT` in place of the controllers of the clientpack. */
  remote?: string
}

/**
 * Begins to connect.
 * @throws {ProfileError} when the pack is not one
 * @throws {ClientError} when its certificate or key is unusable
 */
export function openTunnel({ pack, remote }: TunnelInit, events: TunnelEvents): Tunnel {
  const client = new UdpClient(parseProfile(pack), {
    // The prober answers, and counts.
    answerPings: false,
    // Takes other routes while it is connected, as 2.7 does.
    proto: DEFAULT_PROTO | IV_PROTO.pushUpdate,
    remote: remote === undefined ? undefined : remoteOf(remote),
  })
  const { promise: stopped, resolve: stop } = Promise.withResolvers<void>()
  const close = () => client.close().then(stop, stop)
  client.onConnected = connection => events.connected(describe(connection))
  client.onUpdated = connection => events.updated(describe(connection))
  client.onPacket = packet => events.packet(packet)
  client.onRetrying = (reason, end) => {
    // A disabled client is asked to come back later; whoever probes wants to know now.
    if (end?.kind === 'auth-failed') {
      void close()
      events.ended(reason)
    } else events.retrying(reason)
  }
  client.onEnded = error => events.ended(error.message)
  // How it ends is told by the calls above.
  client.connect().catch(() => {})
  return {
    send: packet => void client.send(packet),
    close: async () => {
      void close()
      await stopped
    },
  }
}

function describe(connection: Connection): Seen {
  const { remote, tls, cipher, derivation, options } = connection
  const routes = routesOf(options)
  const addresses = { address: addressOf(connection), address6: address6Of(connection) }
  return { ...addresses, remote, tls, cipher, keyDerivation: derivation, routes, options }
}

function remoteOf(text: string): ProfileRemote {
  const { host, port } = parseHostPort(text, DEFAULT_PORT)
  return { host, port }
}
