// After a restore, or a loss of records: what other controllers know better is waited for before clients are taken, since a copy may not know of
// what was revoked, removed or handed out since it was made.
import type { Home } from '../home.ts'

/** ms within which peers that live have dialled: their longest pause between two tries, and the exchange. */
const PATIENCE_MS = 10_000

/** True until the controller has met the others, or waited for them. */
export async function isUnsettled(home: Home): Promise<boolean> {
  const { directory, replica } = home
  if (replica.lostAt !== undefined && replica.unconfirmed > 0 && othersOf(home) > 0) return true
  return (await directory.readIfThere(directory.restoredFile)) !== undefined
}

/**
 * Waits until the records of the copy are confirmed or corrected by another controller, but not for long: the mesh may have
 * no other that lives. Returns whether they were.
 */
export async function settle(home: Home, patience = PATIENCE_MS): Promise<boolean> {
  const { replica, directory } = home
  if (replica.unconfirmed > 0) {
    const { promise, resolve } = Promise.withResolvers<void>()
    const timer = setTimeout(resolve, patience)
    const stop = replica.onChange(() => {
      if (replica.unconfirmed === 0) resolve()
    })
    await promise
    clearTimeout(timer)
    stop()
  }
  const isSettled = replica.unconfirmed === 0
  // As long as there are others that it did not meet, the next start waits for them, too.
  if (isSettled || othersOf(home) === 0) await directory.remove(directory.restoredFile)
  return isSettled
}

/** What an operator should know of; undefined when there is nothing, or nobody who could know better. */
export function restoredNotice(home: Home): string | undefined {
  const { replica } = home
  const { restoredFrom, lostAt } = replica
  if ((restoredFrom ?? lostAt) === undefined || replica.unconfirmed === 0 || othersOf(home) === 0)
    return undefined
  const cause =
    lostAt === undefined
      ? `was restored from a backup of ${dateOf(restoredFrom!)}, and no other controller has told it yet what changed since`
      : `lost some of its records, as it noticed on ${dateOf(lostAt)}, and no other controller has told it yet which`
  return (
    `this controller ${cause}; ` +
    'see why they are not reached; only if they are gone for good, take them out with `overmesh controller remove NAME`'
  )
}

function dateOf(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19)}Z`
}

function othersOf({ views, id }: Home): number {
  return views.controllers().filter(each => each.id !== id).length
}
