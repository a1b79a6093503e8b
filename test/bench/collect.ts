// Preloaded into a server on Node that is weighed (`--expose-gc --import`): SIGUSR2 collects garbage and says what is in use, so that
// what counts is what the sessions hold, and not what V8 and malloc have set aside and not got round to giving back.
import koffi from 'koffi'

const FIELDS = 'arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost'.split(' ')
const Mallinfo2 = koffi.struct(Object.fromEntries(FIELDS.map(name => [name, 'size_t'])))
/** Of malloc.h, for all threads: in use are `uordblks`, and `hblkhd` for what has pages of its own. */
const mallinfo2 = koffi.load(null).func('mallinfo2', Mallinfo2, [])

process.on('SIGUSR2', () => {
  const { gc } = globalThis as { gc?: () => void }
  gc?.()
  // What the first found to be unreachable, the second gives back.
  setImmediate(() => {
    gc?.()
    const { uordblks, hblkhd } = mallinfo2() as { uordblks: number; hblkhd: number }
    process.stderr.write(`holds ${process.memoryUsage().heapUsed + uordblks + hblkhd} bytes\n`)
  })
})
