// SIGINT and SIGTERM for commands that go on until somebody ends them.

export interface Interruption extends Disposable {
  /** Aborts at the first SIGINT or SIGTERM; the reason is the signal's name. */
  readonly signal: AbortSignal
}

/** Catches the signals that end a command; a second one ends the process at once, as it does without this. */
export function untilInterrupted(): Interruption {
  const controller = new AbortController()
  const release = () => {
    process.off('SIGINT', stop)
    process.off('SIGTERM', stop)
  }
  const stop = (name: NodeJS.Signals) => {
    release()
    controller.abort(name)
  }
  process.on('SIGINT', stop)
  process.on('SIGTERM', stop)
  return { signal: controller.signal, [Symbol.dispose]: release }
}
