// The key that shows failover: it kills the controller that a client is on, and brings it back.
import type { DemoClient } from './demo-client.ts'
import type { DemoController } from './demo-controller.ts'

export interface DemoKeysInit {
  controllers: readonly DemoController[]
  /** Its controller is the one that dies. */
  first: DemoClient
  say: (line: string) => void
  /** Ctrl-C, which a terminal in raw mode gives as a key. */
  interrupt: () => void
}

const CTRL_C = '\u0003'

/** Reads keys of a terminal, or of a pipe, until closed. */
export class DemoKeys {
  readonly #init: DemoKeysInit
  #killed: DemoController | undefined
  /** What the last key set going. */
  #work: Promise<void> = Promise.resolve()
  #busy = false

  constructor(init: DemoKeysInit) {
    this.#init = init
    const { stdin } = process
    if (stdin.isTTY) stdin.setRawMode(true)
    stdin.setEncoding('utf8').on('data', this.#read).on('error', this.#ignore).resume()
  }

  /** Gives the terminal back. */
  async close(): Promise<void> {
    const { stdin } = process
    stdin.off('data', this.#read).pause()
    try {
      if (stdin.isTTY) stdin.setRawMode(false)
    } catch {
      // It was closed.
    }
    await this.#work
  }

  #ignore = (): void => {}

  #read = (keys: string): void => {
    for (const key of keys) {
      if (key === CTRL_C) this.#init.interrupt()
      else if (key === 'k' && !this.#busy) {
        this.#busy = true
        this.#work = this.#toggle()
          .catch(error => this.#init.say(error instanceof Error ? error.message : String(error)))
          .finally(() => {
            this.#busy = false
          })
      }
    }
  }

  async #toggle(): Promise<void> {
    const { controllers, first, say } = this.#init
    const dead = this.#killed
    if (dead) {
      say(`bringing ${dead.name} back`)
      await dead.up()
      this.#killed = undefined
      say(`${dead.name} is back; nobody has to move`)
      return
    }
    const victim = controllers.find(({ listen }) => listen === first.remote)
    if (!victim) {
      say(`${first.name} is on no controller now`)
      return
    }
    say(`killing ${victim.name}, which ${first.name} is on`)
    this.#killed = victim
    await victim.kill()
  }
}
