// SIGINT and SIGTERM for commands that go on until somebody ends them.

export interface Interruption extends Disposable {
  /** Aborts at the first SIGINT or SIGTERM; the reason is the signal's name. */
  readonly signal: AbortSignal
  /** Aborts it as SIGHUP does: nobody is there any more. */
  hangUp(): void
}

/**
 * Catches the signals that end a command; a second one ends the process at once, as it does without this.
 * @param terminal its end ends the command too, by SIGHUP, of which there may be several
 */
export function untilInterrupted(terminal = false): Interruption {
  const controller = new AbortController()
  const release = () => {
    process.off('SIGINT', stop)
    process.off('SIGTERM', stop)
  }
  const hangUp = () => controller.abort('SIGHUP')
  const stop = (name: NodeJS.Signals) => {
    release()
    controller.abort(name)
  }
  process.on('SIGINT', stop)
  process.on('SIGTERM', stop)
  if (terminal) process.on('SIGHUP', hangUp)
  const dispose = () => {
    release()
    process.off('SIGHUP', hangUp)
  }
  return { signal: controller.signal, hangUp, [Symbol.dispose]: dispose }
}
