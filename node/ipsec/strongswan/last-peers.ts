// Where devices that dial in were last seen. When the daemon dies alone, they do not know of it for as long as their dead peer
// detection takes: the new one dials them there, and its INITIAL_CONTACT (RFC 7296 section 2.4) ends what they still keep.
import { textOf } from '../vici/message.ts'
import type { NamedSa } from './carrying.ts'
import type { Peer } from './connection.ts'
import { tunnelOfName } from './sas.ts'

export class LastPeers {
  readonly #peers = new Map<string, Peer>()

  note([connection, ike]: NamedSa): void {
    const host = textOf(ike, 'remote-host')
    const port = Number(textOf(ike, 'remote-port'))
    if (host !== undefined && port > 0 && port < 65_536)
      this.#peers.set(tunnelOfName(connection), { host, port })
  }

  forget(tunnel: string): void {
    this.#peers.delete(tunnel)
  }

  /** Empties it. */
  take(): Map<string, Peer> {
    const peers = new Map(this.#peers)
    this.#peers.clear()
    return peers
  }
}
