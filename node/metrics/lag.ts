// For how long other controllers have lacked records that are here: what a count of records does not say.

export class ReplicaLag {
  /** Monotonic ms at which a peer was last found to lack nothing, or was first looked at. */
  readonly #equalAt = new Map<string, number>()

  /** @param peers all others, each with the number of records that it is not known to have */
  look(peers: Iterable<{ readonly id: string; readonly behind: number }>, now: number): void {
    const seen = new Set<string>()
    for (const { id, behind } of peers) {
      seen.add(id)
      if (behind === 0 || !this.#equalAt.has(id)) this.#equalAt.set(id, now)
    }
    for (const id of this.#equalAt.keys()) if (!seen.has(id)) this.#equalAt.delete(id)
  }

  /** Seconds; 0 while it lacks nothing, or is not known. */
  seconds(id: string, behind: number, now: number): number {
    const since = this.#equalAt.get(id)
    return behind === 0 || since === undefined ? 0 : Math.max(0, now - since) / 1000
  }
}
