// Where devices that dial in were last seen. When the daemon dies alone, they do not know of it for as long as their dead peer
// detection takes: the next one dials them there, and its INITIAL_CONTACT (RFC 7296 section 2.4) ends what they still keep. One whose
// tunnel was taken down was refused since, and may not call again by itself.
import { textOf } from '../vici/message.ts'
import type { NamedSa } from './carrying.ts'
import type { Peer } from './connection.ts'
import { tunnelOfName } from './sas.ts'

/** Devices whose tunnels were taken down, or whose daemon died. */
const MAX_AWAY = 4096

export class LastPeers {
  readonly #peers = new Map<string, Peer>()
  readonly #away = new Map<string, Peer>()

  note([connection, ike]: NamedSa): void {
    const host = textOf(ike, 'remote-host')
    const port = Number(textOf(ike, 'remote-port'))
    if (host !== undefined && port > 0 && port < 65_536)
      this.#peers.set(tunnelOfName(connection), { host, port })
  }

  forget(tunnel: string): void {
    this.#peers.delete(tunnel)
  }

  /** Its tunnel is taken down, maybe for a while. */
  sendAway(tunnel: string): void {
    const peer = this.#peers.get(tunnel)
    if (peer === undefined) return
    this.#away.delete(tunnel)
    if (this.#away.size >= MAX_AWAY) this.#away.delete(this.#away.keys().next().value!)
    this.#away.set(tunnel, peer)
  }

  /** The daemon that they were connected to is gone. */
  sendAllAway(): void {
    for (const tunnel of this.#peers.keys()) this.sendAway(tunnel)
    this.#peers.clear()
  }

  /** Where a device is whose tunnel was taken down, and is wanted again; once. */
  callBack(tunnel: string): Peer | undefined {
    const peer = this.#away.get(tunnel)
    this.#away.delete(tunnel)
    return peer
  }
}
