// Time as this process has it: while its threads could go on and other programs had the processors, nothing can be asked of it.
import { readdirSync, readFileSync } from 'node:fs'

const THREADS = '/proc/self/task'

export class Stopwatch {
  readonly #began = performance.now()
  readonly #before = waits()

  /** Milliseconds since it was made. */
  get elapsed(): number {
    return performance.now() - this.#began
  }

  /** How many of them the threads of this process waited for a processor, all together; 0 where the system does not tell. */
  get waited(): number {
    let sum = 0
    for (const [thread, ms] of waits()) sum += Math.max(0, ms - (this.#before.get(thread) ?? 0))
    return sum
  }

  /** Those that it did not wait for: what it takes where nothing else runs, at most. */
  get own(): number {
    return this.elapsed - this.waited
  }
}

/** Milliseconds that each thread was ready and did not run (Linux, sched-stats). */
function waits(): Map<string, number> {
  const all = new Map<string, number>()
  try {
    for (const thread of readdirSync(THREADS)) {
      try {
        const [, delay] = readFileSync(`${THREADS}/${thread}/schedstat`, 'utf8').split(' ')
        all.set(thread, Number(delay) / 1e6)
      } catch {
        // It has ended meanwhile.
      }
    }
  } catch {
    // Elsewhere than on Linux.
  }
  return all
}
