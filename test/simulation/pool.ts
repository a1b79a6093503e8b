// Many lives, as many at a time as there are cores.
import { Worker } from 'node:worker_threads'
import type { Outcome } from './mesh-life.ts'

export interface Report {
  readonly seed: number
  /** Undefined when it failed. */
  readonly outcome?: Outcome
  readonly failure?: string
  /** Real ms that it took. */
  readonly ms: number
}

/** Lives `count` seeds from `first` on. Stops early when `onReport` returns false. */
export async function liveSeeds(
  first: number,
  count: number,
  jobs: number,
  onReport: (report: Report) => boolean,
): Promise<void> {
  let next = first
  let isOver = false
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const workers = Array.from({ length: Math.min(jobs, count) }, () => {
    return new Worker(new URL('./life-worker.ts', import.meta.url))
  })
  let busy = workers.length
  const handOut = (worker: Worker) => {
    if (!isOver && next < first + count) worker.postMessage(next++)
    else if (--busy === 0) resolve()
  }
  for (const worker of workers) {
    worker.on('error', reject)
    worker.on('message', (report: Report) => {
      isOver ||= !onReport(report)
      handOut(worker)
    })
    handOut(worker)
  }
  try {
    if (workers.length > 0) await promise
  } finally {
    await Promise.all(workers.map(worker => worker.terminate()))
  }
}
