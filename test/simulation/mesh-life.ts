// One random life of a mesh from one seed: growth, work, trouble of every kind, healing, and then the reckoning.
import type { MeshTiming } from '../../mesh/core.ts'
import { MAX_SKEW_MS } from '../../state/clock.ts'
import { attack } from './hostile.ts'
import {
  addressProblem,
  areConnected,
  areEqual,
  checkDrain,
  checkRevocation,
  presenceProblem,
  problems,
} from './mesh-checks.ts'
import { checkWays } from './mesh-ways.ts'
import { MeshWorld } from './mesh-world.ts'
import { Operators } from './operators.ts'
import { SimClients } from './sim-clients.ts'
import type { SimController } from './sim-controller.ts'

const HOUR = 3_600_000
/** ms after healing in which all channels open again. */
const CONNECT_LIMIT = 12_000
/** ms after that in which presence is right everywhere. */
const PRESENCE_LIMIT = 1000
/** ms after that in which all replicas are equal: a mended disk may have to wait its turn. */
const EQUAL_LIMIT = 10_000
const MENDED_LIMIT = 200_000

/** How often each comes, of a hundred. */
const FREQUENCIES = {
  start: 8,
  act: 30,
  burst: 3,
  roam: 20,
  leave: 3,
  drain: 3,
  cut: 7,
  mend: 4,
  crash: 5,
  mute: 2,
  attack: 6,
  join: 2,
  remove: 2,
  clock: 3,
  backUp: 2,
  restore: 3,
} as const
type Happening = keyof typeof FREQUENCIES
const HAPPENINGS = (Object.keys(FREQUENCIES) as Happening[]).flatMap(each =>
  new Array<Happening>(FREQUENCIES[each]).fill(each),
)

export interface Outcome {
  readonly seed: number
  readonly controllers: number
  /** Names all that happened. */
  readonly trace: string
  readonly events: number
  /** Virtual ms after healing until everybody was connected, and after that until presence was right, and equal records. */
  readonly connected: number
  readonly presence: number
  readonly equal: number
}

export class MeshLife {
  readonly world: MeshWorld
  readonly seed: number
  readonly #clients: SimClients
  readonly #operators: Operators
  readonly #size: number
  /** Clocks that are far off are part of some lives only, and disks that are set back, too. */
  readonly #hasWrongClocks: boolean
  readonly #hasOldDisks: boolean
  #furthestAhead = 0

  constructor(seed: number, keepsLines = false) {
    this.seed = seed
    // One in a hundred has up to fifty controllers, one in twenty up to ten.
    const size = seed % 100 === 50 ? 'large' : seed % 20 === 10 ? 'medium' : 'small'
    this.world = new MeshWorld(seed, size === 'large' ? SLOW : {}, keepsLines)
    const { clockwork } = this.world
    this.#size =
      size === 'large'
        ? clockwork.between(11, 50)
        : size === 'medium'
          ? clockwork.between(6, 10)
          : clockwork.between(3, 5)
    this.#hasWrongClocks = clockwork.chance(250)
    this.#hasOldDisks = clockwork.chance(250)
    // Half of the small ones gossip as large ones do.
    if (clockwork.chance(500)) this.world.few = 0
    this.#clients = new SimClients(this.world)
    this.#operators = new Operators(this.world, this.#clients)
  }

  async run(): Promise<Outcome> {
    const { world } = this
    const { clockwork, network } = world
    await world.found(this.#size, () => this.#smallSkew())
    await clockwork.until(() => areConnected(world.members), CONNECT_LIMIT)
    for (let i = 0; i < 6; i++) {
      await world.within(this.#operators.add(clockwork.choose(world.up)!))
    }
    network.loss = clockwork.choose([0, 20, 200, 500])!
    network.duplication = clockwork.pick(100)
    network.congestion = clockwork.choose([0, 0, 10])!
    network.jitter = clockwork.choose([2, 20, 60])!
    for (let left = this.#size > 10 ? 14 : 45; left > 0; left--) {
      this.#event()
      // Now and then long enough for deletions to be forgotten.
      const isLong = clockwork.chance(this.#size > 5 ? 0 : 4)
      const most = isLong ? 70_000 : clockwork.chance(100) ? 6000 : 800
      await clockwork.advance(clockwork.between(isLong ? 61_000 : 5, most))
      for (const { process, index } of world.up) {
        const problem = addressProblem(process!)
        if (problem) throw new Error(`c${index}: ${problem}`)
      }
    }
    return this.#reckon()
  }

  #smallSkew(): number {
    return this.world.clockwork.between(-1000, 1000)
  }

  #event(): void {
    const { world } = this
    const { clockwork } = world
    const controller = clockwork.choose(world.up)
    const happening = clockwork.choose(HAPPENINGS)!
    if (controller) this.#happen(happening, controller)
    else this.#start()
  }

  #happen(happening: Happening, controller: SimController): void {
    const { clockwork, network } = this.world
    switch (happening) {
      case 'start':
        this.#start()
        break
      case 'act':
        clockwork.spawn(this.#operators.act(controller))
        break
      case 'burst':
        for (let left = clockwork.between(5, 40); left > 0; left--) {
          clockwork.spawn(this.#operators.act(controller))
        }
        break
      case 'roam':
        this.#roam(controller)
        break
      case 'leave':
        this.#clients.disconnect(clockwork.choose(this.#clients.ids)!)
        break
      case 'drain':
        controller.drain(clockwork.chance(500))
        break
      case 'cut':
        this.#cut()
        break
      case 'mend':
        network.mend()
        break
      case 'crash':
        this.world.crash(controller, clockwork.chance(500), clockwork.chance(500))
        break
      case 'mute':
        this.#mute(controller)
        break
      case 'attack':
        this.#attack(controller)
        break
      case 'join':
        this.#join(controller)
        break
      case 'remove':
        this.#remove(controller)
        break
      case 'clock':
        if (this.#hasWrongClocks) this.#setClock(controller)
        break
      case 'backUp':
        if (this.#hasOldDisks) this.#backUp(controller)
        break
      case 'restore':
        if (this.#hasOldDisks) this.#restore(controller)
    }
  }

  #start(): void {
    const { clockwork, controllers } = this.world
    const down = clockwork.choose(controllers.filter(each => !each.isUp))
    if (down) clockwork.spawn(down.start())
  }

  #roam(controller: SimController): void {
    const id = this.world.clockwork.choose(this.#clients.ids)
    if (id) this.#clients.connect(id, controller)
  }

  /** A partition, the same in one direction only, or one pair that does not hear each other. */
  #cut(): void {
    const { clockwork, network, controllers } = this.world
    const side = new Map(controllers.map(each => [each, clockwork.pick(2)]))
    const kind = clockwork.pick(4)
    const [one, other] = [clockwork.choose(controllers)!, clockwork.choose(controllers)!]
    for (const a of controllers) {
      for (const b of controllers) {
        const isApart =
          kind < 2
            ? side.get(a) !== side.get(b)
            : kind === 2
              ? side.get(a) === 0 && side.get(b) === 1
              : (a === one && b === other) || (a === other && b === one)
        if (a !== b && isApart) network.cut(a.id, b.id)
      }
    }
    clockwork.note(`a cut of kind ${kind}`)
  }

  #mute(controller: SimController): void {
    const peer = this.world.clockwork.choose(controller.process!.port.connected)
    if (peer) controller.process!.port.mute(peer)
  }

  #attack(victim: SimController): void {
    const peer = this.world.clockwork.choose(this.world.members.filter(each => each !== victim))
    if (peer) attack(this.world, victim, peer)
  }

  #join(host: SimController): void {
    const { world } = this
    const canHost = host.process!.views.isAdmitted(host.id) && !world.removed.has(host)
    if (canHost && world.controllers.length < this.#size + 3)
      world.clockwork.spawn(world.join(host, this.#smallSkew()))
  }

  #remove(by: SimController): void {
    const { world } = this
    const target = world.clockwork.choose(world.members.filter(each => each !== by))
    if (!target || world.removed.has(by) || world.members.length < 3) return
    if (by.process!.views.isAdmitted(target.id)) world.clockwork.spawn(world.remove(by, target))
  }

  #setClock(controller: SimController): void {
    const { clockwork } = this.world
    const isOff = Math.abs(controller.skew) > 1000
    controller.skew = isOff ? 0 : clockwork.between(-HOUR, HOUR)
    this.#furthestAhead = Math.max(this.#furthestAhead, controller.skew)
    clockwork.note(`the clock of c${controller.index} is off by ${controller.skew}`)
  }

  #backUp(controller: SimController): void {
    const { views } = controller.process!
    controller.backup = controller.platter.copy()
    controller.backedUpWith = new Set(this.world.controllers.filter(each => views.isAdmitted(each.id)))
  }

  /**
   * A disk is replaced by an older copy, from a time when at least one of the others was a member; or the end of its log is
   * lost, which is noticed.
   */
  #restore(controller: SimController): void {
    const { world } = this
    const { backup, backedUpWith } = controller
    const isAlone = !world.members.some(each => each !== controller && backedUpWith.has(each))
    if (!backup || isAlone || world.removed.has(controller)) return
    const isNoticed = !controller.wasRestored && world.clockwork.pick(2) === 0
    world.clockwork.spawn(
      world.restore(controller, isNoticed ? controller.platter.truncated(backup) : backup.copy()),
    )
  }

  /** The network is well again and everyone is up. */
  async #reckon(): Promise<Outcome> {
    const { world } = this
    const { clockwork, network } = world
    clockwork.note('healing')
    this.#clients.areQuiet = true
    network.mend()
    Object.assign(network, { loss: 20, duplication: 20, congestion: 0, jitter: 5 })
    for (const controller of world.controllers) {
      controller.skew = this.#smallSkew()
      await world.within(controller.start())
    }
    world.judgeRemovals()
    await clockwork.advance(500)
    // One that was removed may have told, on its way out, whom it had removed before.
    world.judgeRemovals()
    await this.#joinAgain()
    if (this.#furthestAhead > MAX_SKEW_MS) {
      // What was written by a clock that was ahead counts once all others have come so far.
      await clockwork.until(() => areConnected(world.members), CONNECT_LIMIT)
      clockwork.leap(this.#furthestAhead)
    }
    const connected = this.#demand(
      await clockwork.until(() => areConnected(world.members), CONNECT_LIMIT),
      'not everyone is connected',
    )
    const presence = this.#demand(
      await clockwork.until(() => presenceProblem(world.members) === undefined, this.#presenceLimit),
      () => presenceProblem(world.members),
    )
    const isPlain =
      !world.controllers.some(each => each.wasRestored) && this.#furthestAhead === 0 && !world.isDeceived
    const equal = this.#demand(
      await clockwork.until(() => areEqual(world.members), isPlain ? EQUAL_LIMIT : MENDED_LIMIT),
      () => [...problems(world)].join('; '),
    )
    // Whatever is under way comes to its end.
    await clockwork.advance(6000)
    const wrong = [...problems(world)]
    if (wrong.length > 0) throw new Error(wrong.join('\n'))
    await checkWays(world)
    // Some of the ways were cut until now.
    await clockwork.until(() => areConnected(world.members), CONNECT_LIMIT)
    await checkDrain(world)
    await checkRevocation(world)
    for (const { process } of world.members) clockwork.note(process!.replica.hash())
    const { trace, events } = clockwork
    return {
      seed: this.seed,
      controllers: world.controllers.length,
      trace,
      events,
      connected,
      presence,
      equal,
    }
  }

  get #presenceLimit(): number {
    return PRESENCE_LIMIT + (this.world.timing.heartbeat ?? 0)
  }

  /** Whoever crashed before it had joined does so again. */
  async #joinAgain(): Promise<void> {
    const { world } = this
    for (const member of world.members) {
      if (member.process!.replica.get('controller', member.id)) continue
      const host = world.members.find(each => each !== member && each.process!.views.isAdmitted(each.id))
      if (host) await world.within(world.introduce(member, host))
    }
  }

  #demand(result: number | undefined, problem: string | (() => string | undefined)): number {
    if (result !== undefined) return result
    throw new Error(`it took too long: ${typeof problem === 'string' ? problem : problem()}`)
  }
}

const SLOW: Partial<MeshTiming> = { heartbeat: 2000, silence: 10_000, presence: 5000, unequal: 2000 }
