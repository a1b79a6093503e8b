// Which tunnels carry packets: counts their child SAs, from events and from whole lists. A rekeyed SA is the same tunnel still.
import { textOf, type ViciSection } from '../vici/message.ts'
import { childrenOf, isCarrying, tunnelOfName } from './sas.ts'

/** An IKE SA under the name of its connection, of a list-sa, child-updown or child-rekey message. */
export type NamedSa = readonly [connection: string, ike: ViciSection]

export class Carrying {
  onUp: (tunnel: string) => void = () => {}
  onDown: (tunnel: string) => void = () => {}
  /** Unique ids of child SAs, by tunnel. */
  readonly #children = new Map<string, Set<string>>()

  has(tunnel: string): boolean {
    return this.#children.has(tunnel)
  }

  /** A child-updown event. */
  updown([connection, ike]: NamedSa, up: boolean): void {
    const tunnel = tunnelOfName(connection)
    const children = new Set(this.#children.get(tunnel))
    for (const child of childrenOf(ike)) {
      const id = textOf(child, 'uniqueid')
      if (id === undefined) continue
      if (up) children.add(id)
      else children.delete(id)
    }
    this.#set(tunnel, children)
  }

  /** A child-rekey event: the new one is there before the old one goes. */
  rekeyed([connection, ike]: NamedSa): void {
    const tunnel = tunnelOfName(connection)
    const children = new Set(this.#children.get(tunnel))
    for (const pair of childrenOf(ike)) {
      const { old, new: replacement } = pair as Record<string, ViciSection | undefined>
      const gone = textOf(old, 'uniqueid')
      const come = textOf(replacement, 'uniqueid')
      if (come !== undefined) children.add(come)
      if (gone !== undefined) children.delete(gone)
    }
    this.#set(tunnel, children)
  }

  /** All SAs that there are. What ends is as good as gone: the remote end has been told. */
  replace(sas: readonly NamedSa[]): void {
    const found = new Map<string, Set<string>>()
    for (const [connection, ike] of sas) {
      if (textOf(ike, 'state') === 'DELETING') continue
      const tunnel = tunnelOfName(connection)
      const ids = childrenOf(ike).flatMap(child =>
        isCarrying(child) ? (textOf(child, 'uniqueid') ?? []) : [],
      )
      found.set(tunnel, new Set([...(found.get(tunnel) ?? []), ...ids]))
    }
    for (const tunnel of new Set([...this.#children.keys(), ...found.keys()]))
      this.#set(tunnel, found.get(tunnel) ?? new Set())
  }

  #set(tunnel: string, children: Set<string>): void {
    const before = this.#children.has(tunnel)
    if (children.size > 0) this.#children.set(tunnel, children)
    else this.#children.delete(tunnel)
    if (!before && children.size > 0) this.onUp(tunnel)
    if (before && children.size === 0) this.onDown(tunnel)
  }
}
