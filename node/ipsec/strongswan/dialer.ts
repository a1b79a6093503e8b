// When a tunnel that this controller dials is dialled: at once when it is wanted or lost, then again and again, ever more
// rarely, for as long as it is down. Time and chance are arguments.

export const FIRST_RETRY_MS = 1000
export const LAST_RETRY_MS = 15_000
/** A tunnel that was up for so long is dialled at once when it is lost. */
const STEADY_MS = 10_000

interface Dialled {
  /** When it may be dialled next. */
  nextAt: number
  delayMs: number
  upSince: number | undefined
}

export class Dialer {
  readonly #random: () => number
  readonly #tunnels = new Map<string, Dialled>()

  constructor(random: () => number) {
    this.#random = random
  }

  /** These are dialled, no others; a new one at once. */
  set(tunnels: Iterable<string>, now: number): void {
    const wanted = new Set(tunnels)
    for (const id of this.#tunnels.keys()) if (!wanted.has(id)) this.#tunnels.delete(id)
    for (const id of wanted)
      if (!this.#tunnels.has(id))
        this.#tunnels.set(id, { nextAt: now, delayMs: FIRST_RETRY_MS, upSince: undefined })
  }

  /** Its settings are others, or someone asked for it: dialled at once. */
  hurry(tunnel: string, now: number): void {
    const dialled = this.#tunnels.get(tunnel)
    if (dialled === undefined) return
    dialled.nextAt = now
    dialled.delayMs = FIRST_RETRY_MS
  }

  up(tunnel: string, now: number): void {
    const dialled = this.#tunnels.get(tunnel)
    if (dialled) dialled.upSince ??= now
  }

  down(tunnel: string, now: number): void {
    const dialled = this.#tunnels.get(tunnel)
    if (dialled?.upSince === undefined) return
    // One that goes down as soon as it is up is refused in its own way.
    if (now - dialled.upSince >= STEADY_MS) this.hurry(tunnel, now)
    dialled.upSince = undefined
  }

  /** Tunnels that are down, under no way and due; they count as dialled. */
  due(now: number, underWay: (tunnel: string) => boolean): string[] {
    const due: string[] = []
    for (const [id, dialled] of this.#tunnels) {
      if (dialled.upSince !== undefined || dialled.nextAt > now || underWay(id)) continue
      // A fifth more or less, so that two ends that dial at once do not do so for ever.
      dialled.nextAt = now + dialled.delayMs * (0.8 + 0.4 * this.#random())
      dialled.delayMs = Math.min(2 * dialled.delayMs, LAST_RETRY_MS)
      due.push(id)
    }
    return due
  }

  /** Any that is dialled and down. */
  get isWaiting(): boolean {
    return [...this.#tunnels.values()].some(({ upSince }) => upSince === undefined)
  }
}
