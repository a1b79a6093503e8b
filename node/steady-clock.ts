// Time by which something is due: the system's clock may be set back or ahead, and nothing is to be late or early for that.

/** ms since 1970, as the clock stood when this process began, and what has passed since then. */
export function steadyNow(): number {
  return performance.timeOrigin + performance.now()
}

/** By the same clock, what the kernel's monotonic one says, ms: the switch has that. */
export function steadyTime(monotonic: number): number {
  return monotonic + SINCE
}

/** Both go on alike: libuv reads the kernel's. */
const SINCE = steadyNow() - Number(process.hrtime.bigint()) / 1e6
