// How many lives (incarnations) of one author are accounted for: the newest ones, so many that all of them fit into a vector.
// Which ones those are does not depend on the order in which they were heard of. What is older is forgotten: its records
// stay, and travel by repair. An author whose records lie in too many lives issues them again in its present one.
import type { Origin } from './record.ts'
import { MAX_ORIGINS } from './vector.ts'

/** Lives of one author, where the mesh has few. An honest one begins another when its disk was lost, set back or restored. */
export const MAX_LIVES = 64

/** Lives of each author that are accounted for in a mesh of so many controllers, removed ones among them. */
export function livesEach(controllers: number): number {
  return Math.max(1, Math.min(MAX_LIVES, Math.floor(MAX_ORIGINS / Math.max(1, controllers))))
}

/** What an origin and all others of its author begin with. */
export function authorOf(origin: Origin): string {
  return origin.slice(0, origin.indexOf('/'))
}

/** Of each author that has as many lives as are accounted for: the oldest of the newest. */
export class Floors {
  readonly #floors = new Map<string, Origin>()

  /** @param origins each once, in any order */
  constructor(origins: Iterable<Origin>, most: number) {
    const lives = new Map<string, Origin[]>()
    for (const origin of origins) {
      const author = authorOf(origin)
      const ofAuthor = lives.get(author)
      if (ofAuthor === undefined) lives.set(author, [origin])
      else ofAuthor.push(origin)
    }
    for (const [author, ofAuthor] of lives)
      if (ofAuthor.length >= most) this.#floors.set(author, ofAuthor.sort()[ofAuthor.length - most])
  }

  /** Whether this life is older than all that its author may have. */
  isBelow(origin: Origin): boolean {
    const floor = this.#floors.get(authorOf(origin))
    return floor !== undefined && origin < floor
  }
}
