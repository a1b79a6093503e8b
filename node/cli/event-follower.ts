// Events as they happen for as long as somebody watches: over restarts of the controller, and where the reader was too slow,
// with none lost or told twice as far as the controller still has them.
import type { RemoteController } from '../api/remote.ts'
import type { Event, EventFilter } from '../service.ts'
import { ServiceError } from '../service-error.ts'

export interface FollowInit {
  /** The controller, if it runs. */
  connect: () => Promise<Pick<RemoteController, 'feed'> | undefined>
  /** Latest events to begin with. */
  backlog: number
  types?: EventFilter['types']
  signal: AbortSignal
  event: (event: Event) => void
  /** For the person who watches. */
  note: (text: string) => void
  /** ms between two tries. @default 500 */
  retryMs?: number
}

const RETRY_MS = 500
/** Ends that last a moment. */
const PASSING: readonly unknown[] = ['failed', 'not-running', 'refused', 'limited']

/** Resolves once `signal` aborts. @throws when it cannot be followed at first, or not any more */
export async function followEvents(init: FollowInit): Promise<void> {
  const { connect, backlog, types, signal, event, note, retryMs = RETRY_MS } = init
  let last: number | undefined
  let wasOpen = false
  /** What was said of an outage that lasts. */
  let said = false
  const opened = () => {
    wasOpen = true
    said = false
  }
  const take = (each: Event) => {
    if (last !== undefined && each.seq <= last)
      note('the events begin anew: the controller has other ones now')
    else if (last !== undefined && types === undefined && each.seq > last + 1)
      note(`${each.seq - last - 1} events are missed: the controller has them no more`)
    last = each.seq
    event(each)
  }
  while (!signal.aborted) {
    const before = last
    try {
      const remote = await connect()
      if (remote === undefined) throw new ServiceError('not-running', 'the controller does not run')
      const begin = last === undefined ? { backlog } : { since: last }
      await remote.feed(take, { ...begin, types, signal, opened })
    } catch (error) {
      if (!wasOpen || !isPassing(error)) throw error
      // Some came: there may be more at once.
      if (last !== before) continue
      if (!said) note(`${(error as Error).message}; waiting for it`)
      said = true
      await pause(retryMs, signal)
    }
  }
}

/** Errors of the socket are, too: the controller has just gone, or is about to come. */
function isPassing(error: unknown): boolean {
  if (error instanceof ServiceError) return PASSING.includes(error.code)
  return error instanceof Error && 'errno' in error
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise(resolve => {
    const timer = setTimeout(done, ms)
    function done(): void {
      clearTimeout(timer)
      signal.removeEventListener('abort', done)
      resolve()
    }
    signal.addEventListener('abort', done)
  })
}
