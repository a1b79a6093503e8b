// Preloaded into a server on Node that is weighed (`--expose-gc --import`): SIGUSR2 collects garbage, so that what is left is what
// the sessions hold, and not what V8 has not got round to.
process.on('SIGUSR2', () => {
  const { gc } = globalThis as { gc?: () => void }
  gc?.()
})
