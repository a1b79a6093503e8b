// Preloaded into a server on Node that is weighed (`--expose-gc --import`): SIGUSR2 collects garbage and says what is in use, so that
// what counts is what the sessions hold, and not what V8 and malloc have set aside and not got round to giving back.
import { allocatedBytes } from '../../node/switch/sys/allocated.ts'

process.on('SIGUSR2', () => {
  const { gc } = globalThis as { gc?: () => void }
  gc?.()
  // What the first found to be unreachable, the second gives back.
  setImmediate(() => {
    gc?.()
    process.stderr.write(`holds ${process.memoryUsage().heapUsed + allocatedBytes()!} bytes\n`)
  })
})
