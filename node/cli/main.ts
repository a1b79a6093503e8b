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
  outliveReaders()
  try {
    await buildProgram().parseAsync(argv)
  } catch (error) {
    process.exitCode = reportError(error, process.stderr)
  }
}

/**
 * What cannot be written is dropped, and the command goes on: it may be in the middle of a change, and only its end says whether that
 * was made. What was lost is said then. Commands that only show what happens end by `untilInterrupted`.
 */
function outliveReaders(): void {
  const lost = new Map<string, NodeJS.ErrnoException>()
  for (const [name, stream] of [
    ['standard output', process.stdout],
    ['standard error', process.stderr],
  ] as const)
    stream.on('error', error => {
      if (!lost.has(name)) lost.set(name, error)
    })
  process.on('exit', () => {
    for (const [name, error] of lost)
      outputLost(name, error, name === 'standard output' ? Output.ifLost : undefined)
  })
}

function outputLost(name: string, error: NodeJS.ErrnoException, advice?: string): void {
  // Whoever reads our output may stop reading (`overmesh state | head`): no reason to complain, unless it holds what was made.
  if (error.code === 'EPIPE' && advice === undefined) return
  process.exitCode ||= 1
  const reason = getSystemErrorMap().get(error.errno ?? 0)?.[1] ?? error.message
  try {
    const next = advice ?? 'what the command was to do may be done'
    writeSync(2, `overmesh: ${name} cannot be written: ${reason}; ${next}\n`)
  } catch {
    // Nobody can be told.
  }
}
