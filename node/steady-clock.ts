// Time by which something is due: the system's clock may be set back or ahead, and nothing is to be late or early for that.

/** ms since 1970, as the clock stood when this process began, and what has passed since then. */
export function steadyNow(): number {
  return performance.timeOrigin + performance.now()
}
