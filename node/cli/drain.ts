// overmesh drain: send the clients of this controller to others.
import type { Command } from 'commander'
import { Context } from './context.ts'
import { example } from './help.ts'

export function drainCommand(program: Command): void {
  program
    .command('drain')
    .description(
      'send the clients of this controller to others and take no new ones, until --undo or a restart',
    )
    .option('--undo', 'take clients again')
    .addHelpText('after', example('overmesh drain'))
    .action(async ({ undo = false }: { undo?: boolean }, command: Command) => {
      const context = Context.of(command)
      const remote = await context.needRunning()
      const result = undo ? await remote.serve() : await remote.drain()
      context.output.result(result, () => {
        if (undo) context.output.line('clients are taken again')
        else if (result.sessions === 0) context.output.line('drained: no client is here, and none is taken')
        else context.output.line(`drained, but for ${result.sessions} clients that have not left yet`)
      })
    })
}
