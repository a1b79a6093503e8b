// What a person sees when a command did not work: one line on standard error, and the exit status.
import { CommanderError } from 'commander'
import { ServiceError } from '../service-error.ts'
import { oneLine } from './text.ts'

/** The command line itself is wrong: exit status 2. */
export class UsageError extends Error {
  override name = 'UsageError'
}

/** The command was understood and refused, or failed: exit status 1. */
export class CommandError extends Error {
  override name = 'CommandError'
}

/** Prints `overmesh: what is wrong; what to do` and returns the exit status. */
export function reportError(error: unknown, stderr: { write(text: string): unknown }): number {
  if (error instanceof CommanderError && error.exitCode === 0) return 0
  stderr.write(`overmesh: ${oneLine(describe(error))}\n`)
  if (process.env.OVERMESH_DEBUG === '1' && error instanceof Error) stderr.write(`${trace(error)}\n`)
  return isUsage(error) ? 2 : 1
}

function isUsage(error: unknown): boolean {
  if (error instanceof ServiceError) return error.code === 'invalid'
  return error instanceof UsageError || error instanceof CommanderError
}

/** The message without a stack; an error that no one foresaw says so. */
export function describe(error: unknown): string {
  if (!(error instanceof Error)) return `internal error: ${error}`
  // Every error of Overmesh and of the system carries a code; what has none is a defect.
  const foreseen =
    error instanceof UsageError ||
    error instanceof CommandError ||
    typeof (error as NodeJS.ErrnoException).code === 'string'
  if (foreseen && !(error as NodeJS.ErrnoException).code?.startsWith('ERR_')) return error.message
  return `internal error: ${error.message}; run it again with OVERMESH_DEBUG=1 and report what it prints`
}

function trace(error: Error): string {
  const cause = error.cause instanceof Error ? `\ncaused by ${trace(error.cause)}` : ''
  return `${error.stack ?? error.message}${cause}`
}
