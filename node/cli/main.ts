// The overmesh command.
import { writeSync } from 'node:fs'
import { getSystemErrorMap } from 'node:util'
import { reportError } from './errors.ts'
import { Output } from './output.ts'
import { buildProgram } from './program.ts'

/**
 * Runs one command and sets the exit status of the process: 0 done, 1 refused or failed, 2 wrong usage.
 * @param argv as in `process.argv`
 */
export async function main(argv: string[]): Promise<void> {
  // Keys, records, the log of the store: whatever is written is its owner's alone.
  process.umask(0o077)
  process.stdout.on('error', error => outputFailed('standard output', error, Output.ifLost))
  process.stderr.on('error', error => outputFailed('standard error', error))
  try {
    await buildProgram().parseAsync(argv)
  } catch (error) {
    process.exitCode = reportError(error, process.stderr)
  }
}

function outputFailed(name: string, error: NodeJS.ErrnoException, advice?: string): never {
  // Whoever reads our output may stop reading (`overmesh state | head`): no reason to complain, unless it holds what was made.
  if (error.code === 'EPIPE' && advice === undefined) process.exit()
  const reason = getSystemErrorMap().get(error.errno ?? 0)?.[1] ?? error.message
  try {
    const next = advice ?? 'what the command was to do may be done'
    writeSync(2, `overmesh: ${name} cannot be written: ${reason}; ${next}\n`)
  } catch {
    // Nobody can be told.
  }
  process.exit(1)
}
