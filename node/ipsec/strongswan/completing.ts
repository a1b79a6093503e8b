// Tunnels of IKEv1 have a child SA for each pair of networks, and a remote end may refuse or end one of them alone. While the others
// are up, those that are missing are asked for again.
import type { Tunnel } from '../engine.ts'
import { textOf } from '../vici/message.ts'
import type { NamedSa } from './carrying.ts'
import { childNames } from './connection.ts'
import { Dialer } from './dialer.ts'
import { childrenOf, isCarrying, isUnderWay, tunnelOfName } from './sas.ts'

export class Completing {
  readonly #dialer: Dialer

  constructor(random: () => number) {
    this.#dialer = new Dialer(random)
  }

  /**
   * Of tunnels that are dialled from here, up, and not worked at: child SAs that are to be asked for now.
   * @param sas all that there are
   */
  due(
    tunnels: Iterable<Tunnel>,
    sas: readonly NamedSa[],
    now: number,
  ): [tunnel: string, children: string[]][] {
    const ofTunnel = Map.groupBy(sas, ([name]) => tunnelOfName(name))
    const there = new Set<string>()
    const busy = new Set<string>()
    const wanted = new Map<string, string[]>()
    for (const tunnel of tunnels) {
      const own = ofTunnel.get(tunnel.id) ?? []
      const carrying = own.flatMap(([, ike]) => childrenOf(ike).filter(isCarrying))
      const names = childNames(tunnel)
      if (!tunnel.initiate || carrying.length === 0 || names.length < 2) continue
      wanted.set(tunnel.id, names)
      for (const child of carrying) there.add(textOf(child, 'name') ?? '')
      if (own.some(([, ike]) => isUnderWay(ike))) for (const name of names) busy.add(name)
    }
    this.#dialer.set([...wanted.values()].flat(), now)
    for (const name of [...wanted.values()].flat())
      if (there.has(name)) this.#dialer.up(name, now)
      else this.#dialer.down(name, now)
    const due = new Set(this.#dialer.due(now, name => busy.has(name)))
    return [...wanted]
      .map(([tunnel, names]): [string, string[]] => [tunnel, names.filter(name => due.has(name))])
      .filter(([, names]) => names.length > 0)
  }
}
