// The overmesh command.
import { reportError } from './errors.ts'
import { buildProgram } from './program.ts'

/**
 * Runs one command and sets the exit status of the process: 0 done, 1 refused or failed, 2 wrong usage.
 * @param argv as in `process.argv`
 */
export async function main(argv: string[]): Promise<void> {
  // Keys, records, the log of the store: whatever is written is its owner's alone.
  process.umask(0o077)
  // Whoever reads our output may stop reading (`overmesh state | head`): no reason to complain.
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE') throw error
      process.exit()
    })
  }
  try {
    await buildProgram().parseAsync(argv)
  } catch (error) {
    process.exitCode = reportError(error, process.stderr)
  }
}
