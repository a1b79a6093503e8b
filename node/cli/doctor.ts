// overmesh doctor: what this machine lacks, for what, and how to get it.
import type { Command } from 'commander'
import { type Check, checkMachine } from './checks.ts'
import { Context } from './context.ts'
import { CommandError } from './errors.ts'
import { example } from './help.ts'
import { thisMachine } from './machine.ts'
import type { Output } from './output.ts'
import { printable } from './text.ts'

const STYLE = { ok: 'green', warning: 'yellow', missing: 'red' } as const

export function doctorCommand(program: Command): void {
  program
    .command('doctor')
    .description(
      'what this machine lacks, what for, and how to get it; fails when a controller could not run',
    )
    .addHelpText('after', example('overmesh doctor'))
    .action(async (_options: unknown, command: Command) => {
      const context = Context.of(command)
      const controller = await context.running()
      // One that does not answer, or is of an older version, does not say.
      const daemon = await controller?.ikeDaemon().catch(() => undefined)
      const { dataDir } = context
      const running = controller !== undefined
      const checks = await checkMachine({ machine: thisMachine, dataDir, running, daemon })
      const lacking = checks.filter(check => check.essential && check.state === 'missing')
      const { output } = context
      output.result({ ok: lacking.length === 0, checks }, () => printChecks(output, checks))
      if (lacking.length > 0) {
        const names = lacking.map(check => check.name).join(', ')
        throw new CommandError(
          `a controller cannot run here as it is: ${names}; see \`overmesh doctor\` for what to do`,
        )
      }
    })
}

function printChecks(output: Output, checks: Check[]): void {
  for (const { name, state, found, neededFor, fix } of checks) {
    output.line(
      `${output.paint(STYLE[state], state.padEnd(7))}  ${output.paint('bold', name)}: ${printable(found)}`,
    )
    if (fix !== null) output.line(`         needed for ${neededFor}; ${printable(fix)}`)
  }
}
