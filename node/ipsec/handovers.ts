// Sites that dial, on a controller that drains while another has them too. What decides where packets go is known to the others a
// moment later than here: until then they send here, and would send back what this controller sent to them. Pure.

/** ms after which the others know where it goes, and what they sent here before has come. */
export const KNOWN_MS = 1000
/** ms after which what was sent by this controller before is with the site. */
export const PASSED_MS = 250

/** `carry`: its packets go by this controller as before. `leave`: they go by the one that has it. `end`: the site is sent away. */
export type Handover = 'carry' | 'leave' | 'end'

export class Handovers {
  /** What was decided last, and when, monotonic ms: a step has its time, however late it was looked at. */
  readonly #all = new Map<string, { step: Handover; since: number }>()

  /** @returns whether it is another decision than before */
  decide(id: string, now: number): { step: Handover; isNew: boolean } {
    const known = this.#all.get(id)
    const step = known === undefined ? 'carry' : nextOf(known.step, now - known.since)
    const isNew = step !== known?.step
    if (isNew) this.#all.set(id, { step, since: now })
    return { step, isNew }
  }

  /** It is none that is handed over, or not any more. */
  forget(id: string): void {
    this.#all.delete(id)
  }

  isCarried(id: string): boolean {
    return this.#all.get(id)?.step === 'carry'
  }

  /** Something is about to be decided. */
  get areUnderWay(): boolean {
    return [...this.#all.values()].some(({ step }) => step !== 'end')
  }
}

function nextOf(step: Handover, waited: number): Handover {
  if (step === 'carry') return waited < KNOWN_MS ? 'carry' : 'leave'
  return step === 'leave' && waited < PASSED_MS ? 'leave' : 'end'
}
