// Whether this controller lives, and whether clients can connect to it.
import type { Health } from '../service-observation.ts'

export interface Vitals {
  /** The loop of the switch's thread goes on. */
  isTurning: boolean
  /** In words why clients are not taken: other than that it does not live. */
  obstacles: readonly string[]
}

export function healthOf({ isTurning, obstacles }: Vitals): Health {
  const hangs = isTurning ? [] : ["the switch's thread hangs: no packet passes; start the controller anew"]
  const problems = [...hangs, ...obstacles]
  return { alive: isTurning, ready: problems.length === 0, problems }
}
