// Preloaded into a server on Node that is weighed (`--expose-gc --import`): SIGUSR2 collects garbage and says what is left, so that
// what counts is what the sessions hold, and not what V8 has set aside and not got round to giving back.
process.on('SIGUSR2', () => {
  const { gc } = globalThis as { gc?: () => void }
  gc?.()
  const { rss, heapTotal, heapUsed } = process.memoryUsage()
  process.stderr.write(`holds ${rss - heapTotal + heapUsed} bytes\n`)
})
