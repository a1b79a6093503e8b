// What is known of each backbone link, in memory that the switch's two threads share.

/** Links at once: more controllers than a mesh has. */
export const MAX_LINKS = 1024

/** Places of a link's figures. */
export const LINK_STAT = { up: 0, rtt: 1, lastRtt: 2, loss: 3, mtu: 4 } as const
const GENERATION = 5
const STRIDE = 8

/** What the probes of one link have found. */
export interface LinkFigures {
  /** Whether probes are answered. */
  up: boolean
  /** Round trip in milliseconds, smoothed; 0 as long as no probe was answered. */
  rttMs: number
  /** Round trip of the probe answered last, milliseconds. */
  lastRttMs: number
  /** Percent of the last 50 probes that were not answered. */
  lossPercent: number
  /** Longest overlay packet that the path takes in one piece, bytes. */
  mtu: number
}

/** Figures by the link's place, 1 and up; the switch's thread writes, any thread reads. */
export class LinkStats {
  readonly memory: SharedArrayBuffer
  readonly #cells: Float64Array

  constructor(memory: SharedArrayBuffer) {
    this.memory = memory
    this.#cells = new Float64Array(memory)
  }

  static allocate(links = MAX_LINKS): LinkStats {
    return new LinkStats(new SharedArrayBuffer((links + 1) * STRIDE * Float64Array.BYTES_PER_ELEMENT))
  }

  /** Starts a link's figures from 0. */
  begin(place: number, generation: number): void {
    this.#cells.fill(0, place * STRIDE, (place + 1) * STRIDE)
    this.#cells[place * STRIDE + GENERATION] = generation
  }

  end(place: number): void {
    this.#cells[place * STRIDE + GENERATION] = 0
  }

  set(place: number, stat: number, value: number): void {
    this.#cells[place * STRIDE + stat] = value
  }

  /** A link's figures; all 0 as long as its generation has not begun there. */
  read(place: number, generation: number): LinkFigures {
    const at = place * STRIDE
    const live = this.#cells[at + GENERATION] === generation
    const cell = (stat: number): number => (live ? this.#cells[at + stat] : 0)
    return {
      up: cell(LINK_STAT.up) === 1,
      rttMs: cell(LINK_STAT.rtt),
      lastRttMs: cell(LINK_STAT.lastRtt),
      lossPercent: cell(LINK_STAT.loss),
      mtu: cell(LINK_STAT.mtu),
    }
  }
}
