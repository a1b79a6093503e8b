// Clients of OpenVPN 2.5 send their wrapped key in the first packet only, before they have shown that they receive our
// answers. For them alone the key is kept for a while, in a table of fixed size: a flood costs them, not memory.

/** Half a megabyte with its keys. */
const MAX_KEYS = 1024

export class RememberedKeys {
  readonly #lifetimeMs: number
  readonly #keys = new Map<string, { key: Uint8Array; until: number }>()

  constructor(lifetimeMs: number) {
    this.#lifetimeMs = lifetimeMs
  }

  get size(): number {
    return this.#keys.size
  }

  /** The oldest makes room. @param now ms */
  put(now: number, name: string, key: Uint8Array): void {
    this.#keys.delete(name)
    for (const [oldest, { until }] of this.#keys) {
      if (until > now && this.#keys.size < MAX_KEYS) break
      this.#keys.delete(oldest)
    }
    this.#keys.set(name, { key: Uint8Array.from(key), until: now + this.#lifetimeMs })
  }

  get(now: number, name: string): Uint8Array | undefined {
    const entry = this.#keys.get(name)
    return entry && entry.until > now ? entry.key : undefined
  }
}
