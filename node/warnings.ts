// What needs an operator, as long as it does.

export class Warnings {
  readonly #byMatter = new Map<string, string>()

  /** What is said of the matter from now on; undefined: nothing. */
  set(matter: string, warning: string | undefined): void {
    if (warning === undefined) this.#byMatter.delete(matter)
    else this.#byMatter.set(matter, warning)
  }

  all(): string[] {
    return [...this.#byMatter.values()]
  }
}
