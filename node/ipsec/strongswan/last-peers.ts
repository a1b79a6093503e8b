// Where devices that dial in were last seen. When the daemon dies alone, they do not know of it for as long as their dead peer
// detection takes: the next one dials them there, and its INITIAL_CONTACT (RFC 7296 section 2.4) ends what they still keep. One whose
// tunnel was taken down was refused since, and may not call again by itself; nor may one whose tunnel got other settings, such as a new
// key, before the device had them.
import { textOf } from '../vici/message.ts'
import type { NamedSa } from './carrying.ts'
import type { Peer } from './connection.ts'
import { tunnelOfName } from './sas.ts'

/** Devices that are remembered though they are not connected. */
const MAX_AWAY = 4096

export class LastPeers {
  readonly #peers = new Map<string, Peer>()
  readonly #away = new Map<string, Peer>()
  /** Of tunnels that were ended for other settings, and are not up again. */
  readonly #changed = new Map<string, Peer>()

  note([connection, ike]: NamedSa): void {
    const host = textOf(ike, 'remote-host')
    const port = Number(textOf(ike, 'remote-port'))
    if (host === undefined || !(port > 0 && port < 65_536)) return
    const tunnel = tunnelOfName(connection)
    this.#peers.set(tunnel, { host, port })
    this.#changed.delete(tunnel)
  }

  forget(tunnel: string): void {
    this.#peers.delete(tunnel)
  }

  /** Its tunnel is ended now, to come up with other settings. */
  settingsChanged(tunnel: string): void {
    const peer = this.#peers.get(tunnel)
    if (peer !== undefined) keep(this.#changed, tunnel, peer)
  }

  /**
   * Its tunnel is taken down, maybe for a while.
   * @param isForAll by all controllers: otherwise, one that is not up here may be so elsewhere, and is left alone
   */
  sendAway(tunnel: string, isForAll = false): void {
    const peer = this.#peers.get(tunnel) ?? (isForAll ? this.#changed.get(tunnel) : undefined)
    if (peer === undefined) return
    this.#changed.delete(tunnel)
    keep(this.#away, tunnel, peer)
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

/** The oldest makes room. */
function keep(peers: Map<string, Peer>, tunnel: string, peer: Peer): void {
  peers.delete(tunnel)
  if (peers.size >= MAX_AWAY) peers.delete(peers.keys().next().value!)
  peers.set(tunnel, peer)
}
