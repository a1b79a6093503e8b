// Who does something one after the other.

/** Lets in one at a time, in the order they came. Whoever stays for too long keeps the others waiting no longer. */
export class Line {
  readonly #longest: number
  #last: Promise<void> = Promise.resolve()

  /** @param longest ms after which the next is let in */
  constructor(longest: number) {
    this.#longest = longest
  }

  /** Resolves when it is the caller's turn, with what ends that; ending it twice is no error. */
  async enter(): Promise<() => void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    const before = this.#last
    this.#last = promise
    await before
    const timer = setTimeout(resolve, this.#longest)
    return () => {
      clearTimeout(timer)
      resolve()
    }
  }
}
