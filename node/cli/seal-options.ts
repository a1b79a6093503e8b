// --seal and --seal-allow: a pack that brings what shuts its host to everything but the overlay.
import type { Command } from 'commander'
import { exceptionProblem, parseException } from '../seal/exceptions.ts'
import type { PackFormat } from '../service.ts'
import { repeated } from './arguments.ts'
import { UsageError } from './errors.ts'

export interface SealOptions {
  seal?: boolean
  sealAllow?: string[]
}

/** Adds the options to a command that writes a pack. */
export function sealOptions(command: Command): Command {
  return command
    .option('--seal', 'write a zip with, beside the clientpack, what shuts the host to all but the overlay')
    .option(
      '--seal-allow <what>',
      'leave that open, such as tcp/22@192.0.2.0/24; repeat for more',
      repeated('--seal-allow', readException),
    )
}

/** The format of the pack that these options ask for. @throws UsageError when they ask for something else as well */
export function sealedFormat({ seal, sealAllow }: SealOptions, asked: PackFormat | undefined): PackFormat {
  const format = asked ?? (seal ? 'zip' : 'ovpn')
  if (seal && format !== 'zip')
    throw new UsageError(`--seal makes a zip, not ${format}; leave --format out or say zip`)
  if (sealAllow !== undefined && format !== 'zip')
    throw new UsageError('--seal-allow excepts something from a seal; add --seal')
  return format
}

/** @throws UsageError */
export function needFile(format: PackFormat, out: string | undefined, isTerminal: boolean): void {
  if (format !== 'ovpn' && out === undefined && isTerminal)
    throw new UsageError(`a ${format} is binary and not for a terminal; give --out FILE`)
}

function readException(text: string): string {
  if (parseException(text) === undefined)
    throw new UsageError(`--seal-allow ${text.slice(0, 80)}: not understood; ${exceptionProblem(text)}`)
  return text
}
