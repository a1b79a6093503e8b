// The operator's service about who is a controller, on the records and keys of this machine.
import { Invites } from './invites.ts'
import type { LocalContext } from './live.ts'
import { Membership } from './membership.ts'
import { listEntries, storedOn } from './mesh-view.ts'
import { ServiceError } from './service-error.ts'
import type { ControllerEntry, Invitation, MembershipService, Removal } from './service-membership.ts'

const DEFAULT_INVITE_SECONDS = 3600
/** ms that a controller that leaves waits for the others to know. */
const LEAVE_MS = 5000

export class LocalMembership implements MembershipService {
  readonly #context: LocalContext
  readonly #membership: Membership

  /** @param invites those that the running controller knows of */
  constructor(context: LocalContext, invites: Invites | undefined) {
    this.#context = context
    const { home } = context
    this.#membership = new Membership(home, async () => invites ?? Invites.open(home.directory))
  }

  invite(ttlSeconds = DEFAULT_INVITE_SECONDS): Promise<Invitation> {
    const { writing, events } = this.#context
    return writing(async () => {
      const holders = (await this.controllers()).flatMap(each => (each.holdsRootKey ? [each.name] : []))
      const { token, expiresAt, endpoints } = await this.#membership.invite(ttlSeconds, holders)
      const until = new Date(expiresAt).toISOString()
      events.append({ type: 'controller-invited', until })
      return { token, expiresAt: until, endpoints }
    })
  }

  async controllers(all = false): Promise<ControllerEntry[]> {
    const { home, live } = this.#context
    return listEntries(home, live?.mesh(), all ? this.#membership.removed() : [])
  }

  removeController(name: string): Promise<Removal> {
    const { writing, events, storedOn } = this.#context
    return writing(async () => {
      const clients = await this.#membership.remove(name)
      events.append({ type: 'controller-removed', controller: name })
      return { controller: name, clients, storedOn: await storedOn() }
    })
  }

  leave(): Promise<Removal> {
    const { home, live, writing } = this.#context
    return writing(async () => {
      if (!live) {
        throw new ServiceError(
          'not-running',
          'no controller is running here, so no other would know; start it with `overmesh up`, then leave',
        )
      }
      const { controller } = home.config
      this.#membership.mayLeave()
      const isReached = live
        .mesh()
        ?.peers()
        .some(({ connected }) => connected)
      if (!isReached) {
        throw new ServiceError(
          'refused',
          `no other controller is reached now, and none would know; try again, or run \`overmesh controller remove ${controller}\` on another`,
        )
      }
      const clients = await this.#membership.leave()
      const stored = await storedOn(home, live.mesh(), LEAVE_MS)
      if (stored.controllers === 0) {
        throw new ServiceError(
          'failed',
          `${controller} has left, but no other controller said that it knows; run \`overmesh controller remove ${controller}\` on another`,
        )
      }
      return { controller, clients, storedOn: stored }
    })
  }
}
