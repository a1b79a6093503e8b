// What ends commands that go on until somebody ends them: SIGINT and SIGTERM, and that nobody reads what they write.

export interface Interruption extends Disposable {
  /** Aborts at the first of them; the reason is the signal's name, or `unread`. */
  readonly signal: AbortSignal
}

/**
 * Catches what ends a command; a second signal ends the process at once, as it does without this. Standard output that cannot be
 * written, as its reader has gone, ends it too: it would go on for nobody.
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
  // For good: what is written later is lost as well.
  process.stdout.on('error', () => controller.abort('unread'))
  process.on('SIGINT', stop)
  process.on('SIGTERM', stop)
  if (terminal) process.on('SIGHUP', hangUp)
  const dispose = () => {
    release()
    process.off('SIGHUP', hangUp)
  }
  return { signal: controller.signal, [Symbol.dispose]: dispose }
}
