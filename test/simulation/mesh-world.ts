// A mesh of simulated controllers, and what was promised to its operators: which writes were acknowledged, which serials
// were revoked.
import type { MeshTiming } from '../../mesh/core.ts'
import { isVoidAfter } from '../../state/authority.ts'
import type { ChangeSet } from '../../state/change-feed.ts'
import { StateError } from '../../state/errors.ts'
import type { ClientId, Serial } from '../../state/kinds.ts'
import { compareRecords, compareWritten, isRemoval } from '../../state/merge.ts'
import { decodeRecord, type RecordOf, recordKey, type StateRecord } from '../../state/record.ts'
import type { Op } from '../../state/writing.ts'
import { controllerOp, controllerValue, meshOp } from '../unit/state/samples.ts'
import { Clockwork } from './clockwork.ts'
import { SimController, type SimHost, type SimProcess } from './sim-controller.ts'
import { SimNetwork } from './sim-network.ts'

/** ms that a receipt waits for others. */
const RECEIPT_MS = 500

export class MeshWorld implements SimHost {
  readonly clockwork: Clockwork
  readonly network: SimNetwork
  readonly timing: Partial<MeshTiming>
  /** Peers up to which news goes straight to each. */
  few: number | undefined
  readonly controllers: SimController[] = []
  /** Removed, whether or not they know. */
  readonly removed = new Set<SimController>()
  /** By record key: what was acknowledged and must not be lost. */
  readonly promised = new Map<string, StateRecord>()
  readonly revoked = new Set<Serial>()
  /** Someone was removed, or nearly. */
  hasRemoved = false
  /** Lies told. */
  lies = 0
  /** Someone was told that it has what it has not. */
  isDeceived = false
  /** Comparisons of two that have accounted for the same and do not have the same. */
  repairs = 0
  /** Receipts that said too much. */
  readonly overstated: string[] = []
  onChanged: (controller: SimController, set: ChangeSet) => void = () => {}
  onSuperseded: (controller: SimController, client: ClientId) => void = () => {}
  onGone: (process: SimProcess) => void = () => {}
  /** All that was acknowledged, by record key. */
  readonly #written = new Map<string, StateRecord[]>()
  /** Writes that were begun; of some nobody was told the end, and they may stand or not. By record key. */
  readonly #tries = new Map<string, { by: SimController; deletes: boolean }[]>()

  constructor(seed: number, timing: Partial<MeshTiming> = {}, keepsLines = false) {
    this.clockwork = new Clockwork(seed, keepsLines)
    this.network = new SimNetwork(this.clockwork)
    this.timing = timing
  }

  changed(controller: SimController, set: ChangeSet): void {
    this.onChanged(controller, set)
  }

  superseded(controller: SimController, client: ClientId): void {
    this.clockwork.note(`c${controller.index} gives ${client.slice(0, 4)} up`)
    this.onSuperseded(controller, client)
  }

  get up(): SimController[] {
    return this.controllers.filter(each => each.isUp)
  }

  /** Those whose word counts in the end. */
  get members(): SimController[] {
    return this.controllers.filter(each => !this.removed.has(each))
  }

  /** So many controllers, all of them joined, on a network that is well. */
  async found(count: number, skew: () => number): Promise<void> {
    const first = this.#add(skew())
    await this.within(first.start())
    await this.within(first.process!.replica.write([meshOp(), controllerOp(0)]))
    while (this.controllers.length < count) await this.within(this.join(first, skew()))
  }

  /** A newcomer fetches everything from `host`, writes its record and hands it over, as over a join stream. */
  async join(host: SimController, skew: number): Promise<void> {
    const newcomer = this.#add(skew)
    await newcomer.start()
    await this.introduce(newcomer, host)
  }

  async introduce(newcomer: SimController, host: SimController): Promise<void> {
    const [own, theirs] = [newcomer.process?.replica, host.process?.replica]
    if (!own || !theirs) return
    await copy(theirs, own)
    await own.write([controllerOp(newcomer.index)])
    await copy(own, theirs)
    newcomer.process?.port.peersChanged()
    this.clockwork.note(`c${newcomer.index} joined by c${host.index}`)
  }

  #add(skew: number): SimController {
    const controller = new SimController(this, this.controllers.length, skew)
    this.controllers.push(controller)
    return controller
  }

  /** Time passes until it is done. */
  async within<T>(work: Promise<T>): Promise<T> {
    let isDone = false
    const done = () => {
      isDone = true
    }
    work.then(done, done)
    while (!isDone) await this.clockwork.advance(5)
    return work
  }

  /** Writes what the state lets this controller write, and keeps what it promised. False when it says no. */
  async write(controller: SimController, ops: readonly Op[] | (() => readonly Op[])): Promise<boolean> {
    const { process } = controller
    if (process === undefined) return false
    const tried = (): readonly Op[] => {
      const list = typeof ops === 'function' ? ops() : ops
      for (const op of list) this.#try(controller, op)
      return list
    }
    const written: StateRecord[] = []
    const stop = process.replica.onChange(({ changes, cause }) => {
      if (cause === 'written') for (const { after } of changes) if (after) written.push(after)
    })
    try {
      const receipt = await process.replica.write(tried)
      if (controller.process !== process || receipt.written === 0) return false
      this.clockwork.note(`c${controller.index} wrote ${receipt.written} up to ${receipt.sequence}`)
      for (const record of written) this.#promise(controller, record)
      this.clockwork.spawn(this.#await(controller, process, receipt.sequence))
      return true
    } catch (error) {
      if (error instanceof StateError) return false
      throw error
    } finally {
      stop()
    }
  }

  #try(by: SimController, { kind, id, value }: Op): void {
    const key = recordKey(kind, id)
    this.#tries.set(key, [...(this.#tries.get(key) ?? []), { by, deletes: value === null }])
  }

  #promise(controller: SimController, record: StateRecord): void {
    const key = recordKey(record.kind, record.id)
    this.#written.set(key, [...(this.#written.get(key) ?? []), record])
    if (this.removed.has(controller)) return
    const before = this.promised.get(key)
    if (before === undefined || compareRecords(record, before) > 0) this.promised.set(key, record)
    if (record.kind === 'revocation') this.revoked.add(record.id as Serial)
  }

  /** A receipt must not name more holders than there are. */
  async #await(controller: SimController, process: SimProcess, sequence: number): Promise<void> {
    const { incarnation } = process.replica
    const count = await process.core.stored({ sequence }, this.clockwork.sleep(RECEIPT_MS))
    if (controller.process !== process || process.replica.incarnation !== incarnation) return
    this.clockwork.note(`c${controller.index} ${sequence} stored on ${count}`)
    // After a removal what was accounted for is asked for again, so that holders cannot be told by that.
    if (this.removed.size > 0 || this.isDeceived) return
    const holders = this.controllers.filter(other => {
      if (other === controller) return false
      if (other.wasRestored || !other.process) return true
      const ranges = other.process.replica.accounted(controller.id, incarnation)
      return ranges.some((from, i) => i % 2 === 0 && from <= sequence && sequence <= ranges[i + 1])
    })
    if (count > holders.length) {
      this.overstated.push(`c${controller.index}'s ${sequence}: ${count} told, ${holders.length} have it`)
    }
  }

  /** The record that took a controller out, as far as it is known anywhere. */
  removalOf(controller: SimController) {
    for (const { process } of this.members) {
      const record = process?.replica.record('controller', controller.id)
      if (record?.value.removedAt !== undefined) return record
    }
    return undefined
  }

  /** One controller takes another out. */
  async remove(by: SimController, target: SimController): Promise<void> {
    const value = controllerValue(target.index, { removedAt: this.clockwork.time })
    this.removed.add(target)
    this.hasRemoved = true
    const isDone = await this.write(by, [{ kind: 'controller', id: target.id, value }])
    if (!isDone) this.removed.delete(target)
    // Nobody listens to it from now on: what it had told nobody stays with it.
    else await this.forgiveOnlyAt(target)
    this.clockwork.note(`c${by.index} removed c${target.index}: ${isDone}`)
  }

  crash(controller: SimController, isPower: boolean, keepsUnwritten: boolean): void {
    const { process } = controller
    controller.crash(isPower, keepsUnwritten)
    if (process) this.onGone(process)
  }

  /** Puts an older copy in place of a controller's disk, which is off. */
  async restore(controller: SimController, platter: SimController['platter']): Promise<void> {
    this.crash(controller, true, false)
    controller.platter = platter
    controller.wasRestored = true
    await this.forgiveOnlyAt(controller, platter)
    this.clockwork.note(`c${controller.index} restored`)
  }

  /** What a controller alone had need not be there in the end, but for what `left` still has. */
  async forgiveOnlyAt(controller: SimController, left?: SimController['platter']): Promise<void> {
    const platters = this.members.filter(other => other !== controller).map(other => other.platter)
    if (left) platters.push(left)
    const held = await Promise.all(platters.map(async each => (await each.scan()).records))
    for (const [key, record] of this.promised) {
      if (held.some(records => standsOver(records.get(key), record))) continue
      this.promised.delete(key)
      if (record.kind === 'revocation') this.revoked.delete(record.id as Serial)
    }
  }

  /**
   * Who is out in the end: removals that only those know who are out themselves, and those written by one who was removed
   * before, are void; others stand although nobody was told so.
   */
  judgeRemovals(): void {
    let before = -1
    this.removed.clear()
    // Whoever turns out to be out no longer counts as a witness.
    for (let round = 0; round < 5 && this.removed.size !== before; round++) {
      before = this.removed.size
      const out = removedBy(this.up.filter(each => !this.removed.has(each)))
      this.removed.clear()
      for (const controller of this.controllers) if (out.has(controller.id)) this.removed.add(controller)
    }
  }

  /** What was promised and is not so at this process, in words. */
  *broken({ replica }: SimProcess): Iterable<string> {
    for (const [key, record] of this.promised) {
      const { kind, id } = record
      const found = replica.record(kind, id) as StateRecord | undefined
      if (found ? compareRecords(found, record) >= 0 : record.value === null) continue
      const tries = this.#tries.get(key) ?? []
      if (found === undefined && tries.some(each => each.deletes)) continue
      if (this.#isVoided(key, tries)) continue
      yield `${key} of ${record.author} was acknowledged and is ${found ? 'older' : 'missing'}`
    }
  }

  /** Addresses that are not held by who was told first to have them, in words. */
  *stolen({ replica }: SimProcess): Iterable<string> {
    // What was voided or lost may have been the first.
    if (this.removed.size > 0 || this.controllers.some(each => each.wasRestored)) return
    for (const [key, records] of this.#written) {
      const { kind, id } = records[0]
      const lease = kind === 'lease' ? replica.record('lease', id) : undefined
      if (lease === undefined) continue
      for (const { value, term, stamp } of records) {
        if (term !== lease.term) continue
        if (value === null) yield `${key} was released and is held by ${lease.value.holder}`
        else if (stamp < lease.stamp) yield `${key} is held by ${lease.value.holder}, who came later`
      }
    }
  }

  /** What a controller wrote after its removal goes, and what that had replaced may be gone with it. */
  #isVoided(key: string, tries: readonly { by: SimController }[]): boolean {
    const written = this.#written.get(key) ?? []
    for (const controller of this.removed) {
      const removal = this.removalOf(controller)
      if (removal && written.some(record => isVoidAfter(record, removal))) return true
      const told = written.filter(record => record.author === controller.id).length
      if (tries.filter(({ by }) => by === controller).length > told) return true
    }
    return false
  }
}

/** Who is out by what these know. */
function removedBy(witnesses: readonly SimController[]): ReadonlySet<string> {
  const removals = witnesses.flatMap(({ process }) => {
    return [...process!.replica.all('controller')].filter(isRemoval)
  })
  removals.sort(compareWritten)
  const out = new Map<string, RecordOf<'controller'>>()
  for (const removal of removals) {
    const ofAuthor = out.get(removal.author)
    if (!out.has(removal.id) && !(ofAuthor && isVoidAfter(removal, ofAuthor))) out.set(removal.id, removal)
  }
  return new Set(out.keys())
}

async function copy(from: SimProcess['replica'], to: SimProcess['replica']): Promise<void> {
  for (let more = true; more; ) {
    const delta = from.missingFor(to.vector())!
    await to.absorb(delta)
    more = delta.more
  }
}

function standsOver(bytes: Uint8Array | undefined, record: StateRecord): boolean {
  const decoded = bytes && decodeRecord(bytes, true)
  return decoded?.ok === true && compareRecords(decoded.record, record) >= 0
}
