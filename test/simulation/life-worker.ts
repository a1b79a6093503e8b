// Lives one seed after another, as the pool hands them out.
import { parentPort } from 'node:worker_threads'
import { MeshLife } from './mesh-life.ts'

parentPort!.on('message', async (seed: number) => {
  const start = performance.now()
  try {
    const outcome = await new MeshLife(seed).run()
    parentPort!.postMessage({ seed, outcome, ms: performance.now() - start })
  } catch (error) {
    const failure = error instanceof Error ? (error.stack ?? error.message) : String(error)
    parentPort!.postMessage({ seed, failure, ms: performance.now() - start })
  }
})
