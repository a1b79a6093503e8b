// What systemd is told of a controller that it runs (sd_notify(3), sd_watchdog_enabled(3)): when it is ready, that it lives, and
// when it stops. Elsewhere nothing.

export interface Supervisor {
  /**
   * Clients can connect. From now on it is told again and again that this process goes on, for as long as it does.
   * @param words for `systemctl status`
   * @param isAlive whether all that is to go on does, beside this thread
   */
  ready(words: string, isAlive?: () => boolean): void
  stopping(words: string): void
  close(): void
}

const NOBODY: Supervisor = { ready: () => {}, stopping: () => {}, close: () => {} }

/**
 * Takes what systemd put into the environment out of it: it does not concern the processes that this one starts.
 * @param onProblem a word did not reach it
 */
export async function findSupervisor(
  env: NodeJS.ProcessEnv,
  onProblem: (error: Error) => void,
): Promise<Supervisor> {
  const { NOTIFY_SOCKET: path, WATCHDOG_USEC: watchdog, WATCHDOG_PID: watched } = env
  for (const name of ['NOTIFY_SOCKET', 'WATCHDOG_USEC', 'WATCHDOG_PID']) delete env[name]
  if (!path) return NOBODY
  try {
    // Loaded only here: it is native.
    const { UnixDatagramSocket } = await import('./switch/sys/unix-datagram.ts')
    const socket = new UnixDatagramSocket(path)
    const isWatched = watched === undefined || Number(watched) === process.pid
    // Twice as often as is asked for.
    const everyMs = isWatched ? Math.floor(Number(watchdog ?? 0) / 2000) : 0
    return notifying(socket, everyMs, onProblem)
  } catch (error) {
    onProblem(error as Error)
    return NOBODY
  }
}

/** @param everyMs between two signs of life; none at 0 */
function notifying(
  socket: { send(text: string): void; close(): void },
  everyMs: number,
  onProblem: (error: Error) => void,
): Supervisor {
  let timer: NodeJS.Timeout | undefined
  const tell = (...lines: string[]): void => {
    try {
      socket.send(lines.join('\n'))
    } catch (error) {
      onProblem(error as Error)
    }
  }
  return {
    ready(words, isAlive = () => true) {
      tell('READY=1', `STATUS=${words}`)
      if (everyMs === 0) return
      timer ??= setInterval(() => {
        if (isAlive()) tell('WATCHDOG=1')
      }, everyMs).unref()
    },
    stopping: words => tell('STOPPING=1', `STATUS=${words}`),
    close() {
      clearInterval(timer)
      socket.close()
    },
  }
}
