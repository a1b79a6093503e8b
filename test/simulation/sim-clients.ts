// Clients that connect to one controller after another, lose their connection, and are told to go.

import type { ChangeSet } from '../../state/change-feed.ts'
import type { ClientId } from '../../state/kinds.ts'
import type { MeshWorld } from './mesh-world.ts'
import type { SimController, SimProcess } from './sim-controller.ts'

interface SimClient {
  readonly id: ClientId
  at: { controller: SimController; process: SimProcess } | undefined
}

/** ms until a controller notices that a client is gone without a word. */
const TIMEOUT = { least: 3000, most: 20_000 }

export class SimClients {
  /** Nobody connects any more of their own accord. */
  areQuiet = false
  readonly #world: MeshWorld
  readonly #clients = new Map<ClientId, SimClient>()

  constructor(world: MeshWorld) {
    this.#world = world
    world.onChanged = (controller, set) => this.#recordsChanged(controller, set)
    world.onGone = process => this.gone(process)
    world.onSuperseded = (controller, client) => {
      if (this.#clients.get(client)?.at?.controller === controller) this.#lost(client)
    }
  }

  get ids(): ClientId[] {
    return [...this.#clients.keys()]
  }

  add(id: ClientId): void {
    if (!this.#clients.has(id)) this.#clients.set(id, { id, at: undefined })
  }

  /** A client connects to a controller, or tries to; the session before ends sooner or later. */
  connect(id: ClientId, controller: SimController): void {
    const { clockwork } = this.#world
    const { process } = controller
    const client = this.#clients.get(id)
    const view = process?.views.client(id)
    if (!client || !process || !view || !process.views.standing(view).usable) return
    if (!process.views.isAdmitted(controller.id)) return
    const before = client.at
    const session = process.core.presence.sessionUp(id, `203.0.113.${clockwork.pick(256)}:1194`)
    client.at = { controller, process }
    clockwork.note(`${id.slice(0, 4)} at c${controller.index} since ${session.since}`)
    if (before === undefined || before.process === process) return
    const old = before.process.core.presence.own.sessions.get(id)
    clockwork.after(clockwork.chance(500) ? 0 : clockwork.between(TIMEOUT.least, TIMEOUT.most), () => {
      const { presence } = before.process.core
      if (before.controller.process === before.process && presence.own.sessions.get(id) === old) {
        presence.sessionDown(id)
      }
    })
  }

  /** Goes away for good, or until it connects again. */
  disconnect(id: ClientId): void {
    const client = this.#clients.get(id)
    if (!client?.at) return
    const { controller, process } = client.at
    client.at = undefined
    if (controller.process === process) process.core.presence.sessionDown(id)
  }

  /** A controller is gone: its clients look for another. */
  gone(process: SimProcess): void {
    for (const client of this.#clients.values()) if (client.at?.process === process) this.#lost(client.id)
  }

  #lost(id: ClientId): void {
    const { clockwork } = this.#world
    this.#clients.get(id)!.at = undefined
    if (this.areQuiet) return
    clockwork.after(clockwork.between(500, 4000), () => {
      const controller = clockwork.choose(this.#world.up)
      if (!this.areQuiet && controller && this.#clients.get(id)?.at === undefined)
        this.connect(id, controller)
    })
  }

  /** Whose credential is good no longer has to go. */
  #recordsChanged(controller: SimController, { changes }: ChangeSet): void {
    const { process } = controller
    if (!process || changes.every(({ kind }) => kind === 'route' || kind === 'setting')) return
    for (const id of [...process.sessions.keys()]) {
      const view = process.views.client(id)
      if (view && process.views.standing(view).usable) continue
      process.core.presence.sessionDown(id)
      const client = this.#clients.get(id)
      if (client?.at?.process === process) client.at = undefined
    }
  }
}
