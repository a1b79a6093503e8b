// How many requests came in a window of time, for @fastify/rate-limit, by a clock that nobody sets: its own store goes by the
// system's, and a window that was begun before that was set back would last for as long as it was.
import type { FastifyRateLimitStore } from '@fastify/rate-limit'

/** Addresses or tokens that are counted, of each limit; beyond that the one not seen for longest is forgotten. */
const MAX_COUNTED = 4096

export class RequestCounts implements FastifyRateLimitStore {
  readonly #windows = new Map<string, { count: number; since: number }>()

  incr(
    key: string,
    callback: (error: Error | null, result?: { current: number; ttl: number }) => void,
    timeWindow: number,
  ): void {
    const now = performance.now()
    const known = this.#windows.get(key)
    const { count, since } =
      known !== undefined && now - known.since < timeWindow ? known : { count: 0, since: now }
    this.#windows.delete(key)
    this.#windows.set(key, { count: count + 1, since })
    if (this.#windows.size > MAX_COUNTED) this.#windows.delete(this.#windows.keys().next().value!)
    callback(null, { current: count + 1, ttl: timeWindow - (now - since) })
  }

  child(): RequestCounts {
    return new RequestCounts()
  }
}
